"""A deployment from its description to the files of one target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from triton_kit.deployment.compose import compose_files
from triton_kit.deployment.folder import write_folder
from triton_kit.deployment.kserve import kserve_files
from triton_kit.deployment.kubernetes import kubernetes_files
from triton_kit.deployment.needs import Needs, read_needs, refuse_missing_plans
from triton_kit.deployment.quadlet import quadlet_files
from triton_kit.deployment.spec import DeploySpec, Target
from triton_kit.deployment.workload import Workload, container_workload
from triton_kit.errors import SpecError, did_you_mean
from triton_kit.launch import with_request_limit

_FILES: dict[str, Callable[[Workload], dict[str, str]]] = {
    "kubernetes": kubernetes_files,
    "compose": compose_files,
    "kserve": kserve_files,
    "quadlet": quadlet_files,
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was written.

    Attributes:
        folder: has it.
        target: what the files are for.
        files: paths in the folder, sorted.
        models: that each server loads.
    """

    folder: Path
    target: Target
    files: tuple[str, ...]
    models: tuple[str, ...]


def deploy(spec: DeploySpec, target: Target, folder: Path) -> Deployment:
    """Write the files that start a server elsewhere.

    Args:
        spec: what to deploy.
        target: where it runs.
        folder: new, empty, or with an earlier state of the same deployment.

    Raises:
        SpecError: a setting has no effect there, no model uses the GPUs that are asked
            for, or the folder is not the kit's.
        RepositoryError: the repository is missing, or the server would refuse a model.
    """
    if target not in get_args(Target):
        hint = did_you_mean(target, get_args(Target))
        raise SpecError(f"unknown target {target!r}", hint=hint)
    needs = read_needs(spec)
    spec = replace(spec, server=with_request_limit(spec.server, spec.triton))
    files = deployment_files(spec, needs, target)
    write_folder(folder, target, files)
    return Deployment(folder, target, tuple(sorted(files)), needs.models)


def deployment_files(spec: DeploySpec, needs: Needs, target: Target) -> dict[str, str]:
    """Return the texts of a deployment by their path in its folder."""
    if target != "kubernetes":
        refuse_missing_plans(needs, target)
    return _FILES[target](container_workload(spec, needs))
