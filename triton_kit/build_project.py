"""A project becomes a model repository: joins project, convert and repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triton_kit.build_as_is import is_as_is
from triton_kit.build_check import check_project, pipeline_order, pipeline_steps
from triton_kit.build_many import ManyBuilds
from triton_kit.build_one import build_one
from triton_kit.built import Built, target_of
from triton_kit.errors import SpecError, TritonKitError, did_you_mean
from triton_kit.files import default_cache, require_folder
from triton_kit.locate import locate_error
from triton_kit.project.load import REPOSITORY_NAME
from triton_kit.project.spec import Project
from triton_kit.repository.config.parse import parse
from triton_kit.repository.generate.pipeline import ensemble_config
from triton_kit.repository.publish.layout import CONFIG_FILE, model_folder
from triton_kit.scratch import scratch_folder
from triton_kit.triton.schema import ModelConfig

if TYPE_CHECKING:
    from triton_kit.build_model import MissingPlan
    from triton_kit.execute.tasks import OpenExecutor
    from triton_kit.repository.publish.publish import Published

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The repository that was built, and what became of each model.

    `notes` are by model: sentences on what was done otherwise than asked. `warnings`
    are the check's, each with its place in the project file.
    """

    repository: Path
    models: tuple[Published, ...]
    notes: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        models = ", ".join(f"{m.name} version {m.version}" for m in self.models)
        return f"BuildResult({str(self.repository)!r}: {models})"


def build(
    project: Project,
    *,
    output: Path | None = None,
    cache: Path | None = None,
    use_cache: bool = True,
    only: Iterable[str] = (),
    on_progress: Progress = lambda _: None,
    executor: OpenExecutor | None = None,
) -> BuildResult:
    """Build the models and pipelines of a project into a repository.

    Nothing is published before all of it is built; a model that is already there with
    the same content keeps its version.

    Args:
        project: what to build.
        output: the repository; None: `model_repository` in the project.
        cache: a folder of finished conversions, by content; None: one of the user.
        use_cache: whether finished conversions are looked for, and kept.
        only: models and pipelines to build; empty: all. The others stay as they are.
        on_progress: called with a line about each step.
        executor: opens what builds several models at once; None builds one after
            another, in this process.

    Raises:
        TritonKitError: a model cannot be built; the repository is as it was. If only
            plans are missing, which a machine with a GPU builds, it has all else.
    """
    repository = output or project.path(REPOSITORY_NAME)
    require_folder(repository, "the repository")
    if not use_cache:
        cache = None
    else:
        cache = cache or default_cache()
        require_folder(cache, "the cache")
    hidden = project.without_values

    def report(line: str) -> None:
        on_progress(hidden(line))

    with project.hiding_variables(), scratch_folder() as folder:
        wanted = _wanted(project, only)
        check_project(project)
        # Only now: what follows takes longer to import than the checks before it.
        from triton_kit.build_publish import publish_models

        if executor is None:
            models, missing = _build_models(project, wanted, folder, cache, report)
        else:
            many = ManyBuilds(project, folder, cache, report)
            names = [name for name in project.spec.models if name in wanted]
            models, missing = many.build(names, executor, repository)
        built = [*models, *_build_pipelines(project, wanted, models, repository)]
        warnings, published = publish_models(
            project, repository, built, missing, folder / "check", report
        )
    notes = {
        model.config.name: tuple(map(hidden, model.notes))
        for model in built
        if model.notes
    }
    return BuildResult(
        repository=repository,
        models=tuple(published),
        notes=notes,
        warnings=tuple(map(hidden, warnings)),
    )


def planned_steps(project: Project, only: Iterable[str] = ()) -> list[str]:
    """Return what a build would do, a line for each model; nothing is written.

    Raises:
        SpecError: the project cannot be built, as far as that is known beforehand.
    """
    with project.hiding_variables():
        wanted = _wanted(project, only)
        check_project(project)
    target = target_of(project)
    lines = []
    for name, spec in project.spec.models.items():
        if name in wanted:
            verb = (
                "publish" if is_as_is(project, spec) else f"convert to {target.format}"
            )
            calls = f", calls {', '.join(spec.calls)}" if spec.calls else ""
            lines.append(f"{name}: {verb}, from {spec.source}{calls}")
    for name, pipeline in project.spec.pipelines.items():
        if name in wanted:
            steps = " -> ".join(step.model for step in pipeline.steps)
            lines.append(f"{name}: wire {steps}")
    return [project.without_values(line) for line in lines]


def _wanted(project: Project, only: Iterable[str]) -> set[str]:
    known = [*project.spec.models, *project.spec.pipelines]
    wanted = dict.fromkeys(only)
    for name in wanted:
        if name not in known:
            raise SpecError(
                f"{project.place('models')}: no model or pipeline {name!r}",
                hint=did_you_mean(name, known),
            )
    return set(wanted or known)


def _build_models(
    project: Project,
    wanted: set[str],
    scratch: Path,
    cache: Path | None,
    on_progress: Progress,
) -> tuple[list[Built], list[MissingPlan]]:
    """Return the models, and the plans that they wait for."""
    models = []
    missing: list[MissingPlan] = []  # all at once: one trip to the GPU
    for name, spec in project.spec.models.items():
        if name not in wanted:
            continue
        on_progress(f"building {name} from {spec.source}")
        try:
            built, plan = build_one(project, name, scratch, cache)
            models.append(built)
        except TritonKitError as error:
            locate_error(project, error, "models", name)
            raise
        if plan is not None:
            missing.append(plan)
    return models, missing


def _build_pipelines(
    project: Project, wanted: set[str], models: Sequence[Built], repository: Path
) -> list[Built]:
    """Build every pipeline after the pipelines that are steps of it."""
    configs = {model.config.name: model.config for model in models}
    built = []
    for name in pipeline_order(project):
        if name not in wanted:
            continue
        spec = project.spec.pipelines[name]
        fields = dict(spec.config)
        if spec.response_cache:
            fields["response_cache"] = {"enable": True}
        try:
            for step in spec.steps:
                if step.model not in configs:
                    configs[step.model] = _published_config(repository, step.model)
            config = ensemble_config(
                name,
                steps=pipeline_steps(spec),
                outputs=spec.outputs,
                configs=configs,
                fields=fields,
            )
        except SpecError as error:
            locate_error(project, error, "pipelines", name)
            raise
        if spec.max_inflight_requests is not None:
            limit = spec.max_inflight_requests
            config.ensemble_scheduling.max_inflight_requests = limit
        facts = {"model": name, "kind": "pipeline"}
        built.append(Built(config=config, version_files={}, facts=facts))
        configs[name] = config
    return built


def _published_config(repository: Path, name: str) -> ModelConfig:
    """Return the config of a step that is not built this time."""
    path = model_folder(repository, name) / CONFIG_FILE
    if not path.is_file():
        raise SpecError(
            f"the pipeline's step {name!r} is not in {repository} yet",
            hint="build it too, or leave out --only",
        )
    config: ModelConfig = parse(path.read_bytes(), path=path).config
    return config
