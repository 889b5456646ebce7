"""A checked repository becomes what a machine must have to serve it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # YAML values

import yaml

from triton_kit.deployment.spec import DeploySpec
from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import read_text
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.check.examine import examine
from triton_kit.repository.check.findings import ERROR, CheckReport, Finding
from triton_kit.repository.check.incomplete import WAITS, missing_files
from triton_kit.repository.check.target import Target
from triton_kit.serving.containers.shared_memory import shared_memory_bytes
from triton_kit.serving.startup import wanted_models
from triton_kit.triton.schema import DATA_TYPES

PLANS = ".triton-kit/plans"  # beside the repository, in its project
PLAN_JOB = "build-plans-job.yaml"
_OTHER_TENSORRT = "M4"
_COMPATIBLE = "tensorrt,version-compatible=true"  # plans of any TensorRT may load
_ON_GPU = {1, 3}  # KIND_GPU, KIND_MODEL
_PLAN_FILE = re.compile(r"\[ -s (.+?) \] \|\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """A plan that each server's machine builds before the server starts.

    Attributes:
        model: the model that waits for it.
        image: the container that builds it.
        script: for `sh`, in the folder of the model's ONNX file.
    """

    model: str
    image: str
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a repository needs of a machine.

    Attributes:
        models: that the server loads at its start.
        shm_bytes: size of /dev/shm, through which Python models exchange tensors.
        runs_on_cpu: whether the server accepts all models without a GPU.
        runs_on_gpu: whether a model uses a GPU where there is one.
        repository_bytes: size of all files.
        plans: that are built where the server runs.
        load_model: that a load test asks first: one that takes random numbers, if any.
    """

    models: tuple[str, ...]
    shm_bytes: int
    runs_on_cpu: bool
    runs_on_gpu: bool
    repository_bytes: int
    plans: tuple[PlanStep, ...] = ()
    load_model: str = ""


def read_needs(spec: DeploySpec) -> Needs:
    """Check the repository for its server, and return what it needs.

    Raises:
        RepositoryError: the repository is missing, or the server would refuse a model.
        SpecError: GPUs are asked for, and no model uses one.
    """
    root = spec.server.repository
    models = wanted_models(spec.server)
    report = _check(spec, spec.visible_gpus)
    waiting = _refuse_rejected(spec, report, models)
    gpus = max(1, spec.visible_gpus)
    uses_gpu = _uses_gpu(root, report.models, _target(spec, gpus))
    if spec.visible_gpus and not uses_gpu:
        asked = f"--mig {spec.mig}" if spec.mig else f"--gpus {spec.gpus}"
        raise SpecError(
            f"{asked}: no model of {root} runs on a GPU",
            hint=f"leave {asked.split()[0]} out, or set KIND_GPU or KIND_AUTO in the "
            "instance_group of a model",
        )
    on_cpu = report if not spec.visible_gpus else _check(spec, 0)
    return Needs(
        models=models,
        shm_bytes=shared_memory_bytes([root], gpus=spec.visible_gpus),
        runs_on_cpu=not _rejected(on_cpu, models),
        runs_on_gpu=uses_gpu,
        repository_bytes=sum(f.stat().st_size for f in root.rglob("*") if f.is_file()),
        plans=tuple(_plan_step(root, finding, spec) for finding in waiting),
        load_model=_load_model(root, models, _target(spec, gpus)),
    )


def _check(spec: DeploySpec, gpus: int) -> CheckReport:
    features = spec.server.features
    return check_repository(
        spec.server.repository,
        server=spec.triton.release,
        gpus=gpus,
        strict=spec.server.strict_model_config,
        config_name=features.config_name,
        namespacing=features.namespacing,
    )


def _target(spec: DeploySpec, gpus: int) -> Target:
    return Target(
        server=spec.triton.release,
        gpus=gpus,
        strict=spec.server.strict_model_config,
        config_name=spec.server.features.config_name,
    )


def _rejected(report: CheckReport, models: Iterable[str]) -> list[Finding]:
    """Return the errors of the models that are loaded, and of the repository.

    A plan of another TensorRT is one of them: the server would refuse it.
    """
    loaded = {"", *models}
    return [
        finding
        for finding in report.findings
        if finding.model in loaded
        and (finding.severity == ERROR or finding.rule == _OTHER_TENSORRT)
    ]


def _refuse_rejected(
    spec: DeploySpec, report: CheckReport, models: Iterable[str]
) -> list[Finding]:
    """Return the versions that wait for their plan; raise for any other error."""
    errors = _rejected(report, models)
    if _COMPATIBLE in spec.server.features.backend_configs:
        errors = [finding for finding in errors if finding.rule != _OTHER_TENSORRT]
    waiting = [finding for finding in errors if finding.rule == WAITS]
    if other := [finding for finding in errors if finding.rule != WAITS]:
        first, more = other[0], len(other) - 1
        command = f"triton-kit validate {shlex.quote(str(report.root))}"
        command += f" --release {spec.triton.release} --gpus {spec.visible_gpus}"
        also = f" (and {more} more)" if more else ""
        fix = f"{first.hint}; " if first.hint else ""
        raise RepositoryError(
            f"{first.place}: Triton {spec.triton.release} would refuse "
            f"{first.model or 'the repository'}: {first.message}{also}",
            hint=f"{fix}all findings: {command}",
        )
    return waiting


def _uses_gpu(root: Path, models: Iterable[str], target: Target) -> bool:
    """Whether an instance is on a GPU, as the server completes each config."""
    cases = (examine(root / name, target).case for name in models)
    return any(
        group.kind in _ON_GPU
        for case in cases
        if case is not None and not case.is_ensemble
        for group in case.config.instance_group
    )


def _load_model(root: Path, models: tuple[str, ...], target: Target) -> str:
    """Return the first model without strings, which are seldom any text."""
    for name in models:
        case = examine(root / name, target).case
        types = {tensor.data_type for tensor in case.config.input} if case else set()
        if types and DATA_TYPES.Value("TYPE_STRING") not in types:
            return name
    return models[0] if models else ""


def _plan_step(root: Path, finding: Finding, spec: DeploySpec) -> PlanStep:
    """Return the step that builds a missing plan, from the project's script."""
    version = finding.path
    job = root.resolve().parent / PLANS / PLAN_JOB
    for container in _containers(job) if job.is_file() else ():
        (mount,) = container["volumeMounts"]
        found = _PLAN_FILE.match(container["command"][-1])
        if mount.get("subPath") != finding.model or not found:
            continue
        if f":{spec.triton.release}-" not in container["image"]:
            raise RepositoryError(
                f"{job}: the plan of {finding.model} is for {container['image']}, and "
                f"the server is Triton {spec.triton.release}",
                hint="build the project for that release, or deploy with --release",
            )
        (target,) = missing_files(version)
        path = f"/models/{finding.model}/{version.name}/{target}"
        copy = f"cp {found[1]} {shlex.quote(path)}"
        return PlanStep(
            model=finding.model,
            image=container["image"],
            script=f"{container['command'][-1]}\n{copy}\n",
        )
    raise RepositoryError(
        f"{finding.model}: {finding.message}, and {job} does not build it",
        hint="run `triton-kit build` in the project: it writes that file",
    )


def _containers(job: Path) -> list[dict[str, Any]]:
    try:
        pod = yaml.safe_load(read_text(job))["spec"]["template"]["spec"]
        return [*pod["initContainers"], *pod["containers"]]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise RepositoryError(
            f"{job}: not the Job that `triton-kit build` writes"
        ) from error


def refuse_missing_plans(needs: Needs, target: str) -> None:
    """Refuse a repository that waits for plans, where nothing builds them."""
    if needs.plans:
        models = ", ".join(step.model for step in needs.plans)
        raise RepositoryError(
            f"{models}: the plan is missing, and --to {target} does not build plans",
            hint="run the project's build-plans.sh first, or use --to kubernetes",
        )
