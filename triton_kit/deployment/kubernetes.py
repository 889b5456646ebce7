"""A workload becomes manifests: a kustomize base, overlays, and monitoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any  # what a template shows
from urllib.parse import urlsplit

from triton_kit.deployment.monitoring import QUEUE_METRIC, QUEUE_RULE, dashboard, rules
from triton_kit.deployment.render import render
from triton_kit.deployment.workload import (
    PROBE_PERIOD_S,
    TLS,
    Workload,
    refuse_settings,
)
from triton_kit.errors import SpecError
from triton_kit.serving.containers.container import KEY_VARIABLE

_BASE = (
    *("serviceaccount.yaml", "deployment.yaml", "service.yaml", "headless.yaml"),
    *("hpa.yaml", "pdb.yaml", "networkpolicy.yaml"),
)
_MONITORING = ("servicemonitor.yaml", "prometheusrule.yaml")
# Settings of the spec that the manifests decide.
DECIDED = (
    *("http_port", "grpc_port", "metrics_port", "address", "metrics_address"),
    "key_file",
)
_BUILD_S = 1800  # for each plan
_RAY_VERSION = "2.60.0"  # of the extra `ray`


def kubernetes_files(work: Workload) -> dict[str, str]:
    """Return the manifests by their path in the folder.

    Raises:
        SpecError: the server follows changes in a repository that never changes.
    """
    refuse_settings(work.spec.server, DECIDED, "Kubernetes")
    if work.server.model_control == "poll":
        raise SpecError(
            "model control is 'poll', but each pod has a copy of the repository that "
            "never changes",
            hint="leave it out; `kubectl rollout restart` starts servers with the new "
            "models",
        )
    values = _values(work)

    def text(template: str, **more: Any) -> str:  # noqa: ANN401
        return render(f"kubernetes/{template}.j2", **values, **more)

    files = {f"base/{name}": text(name) for name in _BASE}
    files["base/kustomization.yaml"] = text("base.kustomization.yaml")
    component = "components/monitoring"
    files |= {f"{component}/{name}": text(name) for name in _MONITORING}
    files[f"{component}/kustomization.yaml"] = text("monitoring.kustomization.yaml")
    files[f"{component}/dashboard.json"] = dashboard(work)
    overlays = dict(_overlays(work))
    for name, overlay in overlays.items():
        path = f"overlays/{name}/kustomization.yaml"
        files[path] = text("overlay.kustomization.yaml", **overlay)
    files["prometheus-adapter-values.yaml"] = text("adapter.yaml")
    files["load-test/rayjob.yaml"] = text("rayjob.yaml", ray_version=_RAY_VERSION)
    files["README.md"] = text("README.md", overlays=list(overlays))
    return files


def kubernetes_word(word: str) -> str:
    """Return a word that Kubernetes takes literally: it replaces `$(NAME)` and `$$`."""
    return word.replace("$", "$$")


def _overlays(work: Workload) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return what differs by the machines: those that the models run on."""
    spec, needs = work.spec, work.needs
    if needs.runs_on_cpu:
        yield "cpu", {"title": "Servers without a GPU.", "resource": "", "count": 0}
    if needs.runs_on_gpu:
        count = spec.gpus or 1
        title = f"Servers with {count} GPU{'s' if count > 1 else ''} each."
        yield "gpu", {"title": title, "resource": "nvidia.com/gpu", "count": count}
    if spec.mig:
        title = f"Servers with one MIG slice each: {spec.mig}."
        resource = f"nvidia.com/mig-{spec.mig}"
        yield "mig", {"title": title, "resource": resource, "count": 1}


def _values(work: Workload) -> dict[str, Any]:
    """Return what the templates show."""
    spec, plans = work.spec, work.needs.plans
    build_s = len(plans) * _BUILD_S
    return {
        "spec": spec,
        "work": work,
        "name": spec.name,
        "argv": work.argv(kubernetes_word, f"$({KEY_VARIABLE})"),
        "claim": spec.claim or f"{spec.name}-repository",
        "key_variable": KEY_VARIABLE,
        "tls": TLS,
        "plans": plans,
        "copy_script": lambda models, source: _copy_script(
            models, source if plans else ""
        ),
        "deadline_s": round(600 + work.server.ready_within_s) + build_s,
        "period_s": PROBE_PERIOD_S,
        "memory": spec.memory or f"{work.memory_mib}Mi",
        "memory_limit": spec.memory or f"{2 * work.memory_mib}Mi",
        "target": f"{round(spec.queue_target_ms * 1000)}m",
        "queue_rule": QUEUE_RULE,
        "queue_metric": QUEUE_METRIC,
        "traces_port": _traces_port(work.server.features.trace_url),
        "rules": rules(work),
    }


def _copy_script(models: str, plans: str) -> str:
    """Return the script that fills the pod's own volumes."""
    lines = [f"cp -R {models}/. /pod/models/"]
    if plans:
        lines.append(f"cp -R {plans}/. /pod/plans/")
    return "\n".join(lines)


def _traces_port(url: str) -> int:
    """Return the port of the collector of traces; 0 without one."""
    if not url:
        return 0
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
