"""A workload becomes KServe's objects: a runtime of the release, and a service."""

from __future__ import annotations

from dataclasses import replace

from triton_kit.deployment.kubernetes import DECIDED, kubernetes_word
from triton_kit.deployment.render import render
from triton_kit.deployment.workload import (
    PROBE_PERIOD_S,
    Workload,
    refuse_fields,
    refuse_settings,
)
from triton_kit.errors import SpecError
from triton_kit.serving.containers.container import KEY_VARIABLE

# KServe's storage initializer puts the repository there.
_MOUNTED = "/mnt/models"


def kserve_files(work: Workload) -> dict[str, str]:
    """Return the manifests by their path in the folder.

    Raises:
        SpecError: a setting has no effect there.
    """
    spec = work.spec
    refuse_settings(spec.server, DECIDED, "KServe")
    refuse_fields(spec, ("queue_target_ms", "monitoring_namespace"), "KServe")
    if work.server.model_control == "poll" or work.tls_files:
        raise SpecError(
            "polls of the repository and certificates have no effect in KServe",
            hint="it copies the repository once, and its gateway has the certificates",
        )
    work = replace(work, repository=_MOUNTED)
    resource = f"nvidia.com/mig-{spec.mig}" if spec.mig else "nvidia.com/gpu"
    claim = spec.claim or f"{spec.name}-repository"
    values = {
        "spec": spec,
        "work": work,
        "name": spec.name,
        "argv": work.argv(kubernetes_word, f"$({KEY_VARIABLE})"),
        "key_variable": KEY_VARIABLE,
        "period_s": PROBE_PERIOD_S,
        "resource": resource,
        "storage": f"oci://{spec.image}" if spec.image else f"pvc://{claim}/models",
        "memory": spec.memory or f"{work.memory_mib}Mi",
        "memory_limit": spec.memory or f"{2 * work.memory_mib}Mi",
    }
    names = ("servingruntime.yaml", "inferenceservice.yaml", "README.md")
    return {name: render(f"kserve/{name}.j2", **values) for name in names}
