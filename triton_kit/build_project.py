"""A project becomes a model repository: joins project, convert and repository."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit.build_model import Built, PlansToComeError, PlanToCome, build_model
from triton_kit.errors import RepositoryError, SpecError
from triton_kit.project.load import REPOSITORY_NAME
from triton_kit.project.spec import EMBEDDED, PipelineSpec, Project, TargetSpec
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.check.findings import ERROR
from triton_kit.repository.config.render import render
from triton_kit.repository.generate.pipeline import Step, ensemble_config
from triton_kit.repository.publish.manifest import write_manifest
from triton_kit.repository.publish.preview import link_models
from triton_kit.repository.publish.publish import Draft, Published, publish

_EMBEDDED_RELEASE = "24.10"
_EMBEDDED_BACKENDS = ("onnxruntime", "python")
_MANY_GPUS = 64
# Warnings of a check: the server's core accepts a model without its file, a backend
# does not.
_NO_MODEL = ("K16", "M2")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The repository that was built, and what became of each model.

    `notes` are by model: sentences on what was done otherwise than asked.
    """

    repository: Path
    models: tuple[Published, ...]
    notes: dict[str, tuple[str, ...]]

    def __repr__(self) -> str:
        models = ", ".join(f"{m.name} version {m.version}" for m in self.models)
        return f"BuildResult({str(self.repository)!r}: {models})"


def build(
    project: Project,
    *,
    output: Path | None = None,
    cache: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> BuildResult:
    """Build every model and pipeline of a project into a repository.

    Nothing is published before all of it is built; a model that is already there with
    the same content keeps its version. `cache` is a folder of finished conversions, by
    content, that projects and machines may share.

    Raises:
        TritonKitError: a model cannot be built; the repository is as it was.
    """
    repository = output or project.path(REPOSITORY_NAME)
    with tempfile.TemporaryDirectory(prefix="triton-kit-") as scratch:
        models = []
        to_come: list[PlanToCome] = []  # told all at once: one trip to the GPU
        for name, spec in project.spec.models.items():
            on_progress(f"building {name} from {spec.source}")
            try:
                models.append(build_model(project, name, spec, Path(scratch), cache))
            except PlansToComeError as error:
                to_come += error.plans
        if to_come:
            raise PlansToComeError(to_come)
        pipelines = _build_pipelines(project, [model.config for model in models])
        built = [*models, *pipelines]
        _check(project, repository, built, Path(scratch) / "check")
        on_progress(f"publishing to {repository}")
        copies = [_draft(model, put=shutil.copyfile) for model in built]
        published = publish(repository, copies)
    notes = {model.config.name: model.notes for model in built if model.notes}
    return BuildResult(repository=repository, models=tuple(published), notes=notes)


def _check(
    project: Project, repository: Path, built: Sequence[Built], folder: Path
) -> None:
    """Refuse what the target's server would refuse, before it is published.

    The repository is judged as it will be: versions that are there are served as well,
    as the version policy says, and one config is for all of them.

    Raises:
        RepositoryError: a model would not load; the server's reason and what to do.
    """
    target = project.spec.targets.get(project.target, TargetSpec())
    is_embedded = target.triton == EMBEDDED
    release = _EMBEDDED_RELEASE if is_embedded else target.triton
    backends = _EMBEDDED_BACKENDS if is_embedded else None
    link_models(repository, [model.config.name for model in built], folder)
    publish(folder, [_draft(model, put=os.symlink) for model in built])
    # How many GPUs the target has is not said: as many as its models ask for.
    report = check_repository(
        folder, server=release, gpus=_MANY_GPUS, backends=backends
    )
    refused = [f for f in report.findings if f.severity == ERROR or f.rule in _NO_MODEL]
    if not refused:
        return
    lines = [f"model {f.model!r}: {f.message} ({f.rule})" for f in refused]
    raise RepositoryError(
        f"Triton {release} would refuse it:\n" + "\n".join(lines),
        hint=refused[0].hint,
    )


def _build_pipelines(project: Project, models: Sequence[ModelConfig]) -> list[Built]:
    """Build every pipeline after the pipelines that are steps of it."""
    configs = {config.name: config for config in models}
    waiting = dict(project.spec.pipelines)
    built = []
    while waiting:
        ready = [
            name
            for name, spec in waiting.items()
            if not waiting.keys() & {step.model for step in spec.steps}
        ]
        if not ready:
            raise SpecError(f"pipelines are steps of each other: {', '.join(waiting)}")
        for name in ready:
            built.append(_build_pipeline(name, waiting.pop(name), configs))
            configs[name] = built[-1].config
    return built


def _build_pipeline(
    name: str, spec: PipelineSpec, configs: dict[str, ModelConfig]
) -> Built:
    steps = [
        Step(model=step.model, inputs=step.inputs, outputs=step.outputs)
        for step in spec.steps
    ]
    config = ensemble_config(name, steps=steps, outputs=spec.outputs, configs=configs)
    return Built(
        config=config, version_files={}, facts={"model": name, "kind": "pipeline"}
    )


def _draft(model: Built, *, put: Callable[[Path, Path], object]) -> Draft:
    """Return what to publish; `put` brings a file to where it is to be."""

    def write_version(folder: Path) -> None:
        for name, path in model.version_files.items():
            put(path.absolute(), folder / name)
        write_manifest(folder, model.facts)

    return Draft(
        name=model.config.name,
        config=render(model.config),
        write_version=write_version,
        files=model.files,
    )
