"""Built models are held against the target's server, and published."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from triton_kit.built import Built, target_of
from triton_kit.errors import RepositoryError
from triton_kit.locate import locate_field
from triton_kit.project.spec import EMBEDDED, Project
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.check.embedded import EMBEDDED_BACKENDS, EMBEDDED_RELEASE
from triton_kit.repository.check.findings import ERROR, Finding
from triton_kit.repository.check.incomplete import WAITS
from triton_kit.repository.config.render import render
from triton_kit.repository.publish.manifest import write_manifest
from triton_kit.repository.publish.preview import link_models
from triton_kit.repository.publish.publish import (
    Draft,
    Published,
    publish,
    whole_versions,
)
from triton_kit.triton.schema import ModelConfig

if TYPE_CHECKING:
    from triton_kit.build_model import MissingPlan

_MANY_GPUS = 64
# Warnings of a check: the server's core accepts a model without its file, a backend
# does not.
_NO_MODEL = ("K16", "M2")
# Errors on a GPU alone, and the project does not tell where a model will run.
_PERHAPS = ("K13", "K26")


def publish_models(
    project: Project,
    repository: Path,
    built: Sequence[Built],
    missing: Sequence[MissingPlan],
    scratch: Path,
    on_progress: Callable[[str], None],
) -> tuple[list[str], list[Published]]:
    """Publish models that the target's server would load.

    Args:
        project: where they come from.
        repository: where they go.
        built: the models and pipelines.
        missing: plans that a machine with a GPU has to build.
        scratch: a folder for the repository as it will be.
        on_progress: called with a line before it publishes.

    Returns:
        The check's warnings, each with its line, and what became of each model.

    Raises:
        RepositoryError: a model would not load, or the repository cannot be written.
        MissingPlansError: there are missing plans; all else is published.
    """
    warnings = _check(project, repository, built, scratch)
    with _waiting_for(project, missing, repository):
        on_progress(f"publishing to {repository}")
        copies = [_draft(model, put=shutil.copyfile) for model in built]
        published = publish(repository, copies)
    return warnings, published


@contextmanager
def _waiting_for(
    project: Project, missing: Sequence[MissingPlan], repository: Path
) -> Iterator[None]:
    """Raise for missing plans: after the rest is published, if nothing serves yet.

    A server that takes the newest version would lose a model to one without its plan.

    Raises:
        MissingPlansError: there are missing plans.
    """
    if not missing:
        yield
        return
    from triton_kit.build_model import missing_plans

    error = missing_plans(project, missing)
    names = [plan.output.parent.name for plan in missing]
    serving = [name for name in names if whole_versions(repository, name)]
    if serving:
        state = f"{repository} is as it was: it has an older {serving[0]}, with a plan"
    else:
        yield
        state = f"{repository} has all else"
    error.message = f"{error.message}\n{state}"
    error.args = (error.message,)
    raise error


def _check(
    project: Project, repository: Path, built: Sequence[Built], folder: Path
) -> list[str]:
    """Refuse what the target's server would refuse; return the check's warnings.

    The repository is judged as it will be: versions that are there are served as well,
    as the version policy selects, and one config is for all of them.

    Raises:
        RepositoryError: a model would not load; the server's reason and what to do.
    """
    target = target_of(project)
    is_embedded = target.triton == EMBEDDED
    release = EMBEDDED_RELEASE if is_embedded else target.triton
    names = {model.config.name for model in built}
    others = {*project.spec.models, *project.spec.pipelines} - names
    there = [name for name in others if (repository / name).is_dir()]
    link_models(repository, [*names, *there], folder)
    publish(folder, [_draft(model, put=os.symlink) for model in built])
    # How many GPUs the target has is not known: as many as its models ask for.
    report = check_repository(
        folder,
        server=release,
        gpus=_MANY_GPUS,
        backends=EMBEDDED_BACKENDS if is_embedded else None,
    )
    configs = {model.config.name: model.config for model in built}
    refused = [f for f in report.findings if _is_refused(f)]
    warnings = [
        _with_place(project, configs, f) + (f": {f.hint}" if f.hint else "")
        for f in report.findings
        if f not in refused and f.model in configs and f.rule != WAITS
    ]
    if not refused:
        return warnings
    lines = [_with_place(project, configs, finding) for finding in refused]
    raise RepositoryError(
        f"Triton {release} would refuse it:\n" + "\n".join(lines),
        hint=refused[0].hint,
    )


def _is_refused(finding: Finding) -> bool:
    is_error = finding.severity == ERROR and finding.rule not in (*_PERHAPS, WAITS)
    return is_error or finding.rule in _NO_MODEL


def _with_place(
    project: Project, configs: dict[str, ModelConfig], finding: Finding
) -> str:
    line = f"model {finding.model!r}: {finding.message} ({finding.rule})"
    config = configs.get(finding.model)
    place = "" if config is None else locate_field(project, config, finding.at)
    return f"{place}: {line}" if place else line


def _draft(model: Built, *, put: Callable[[Path, Path], object]) -> Draft:
    """Return what to publish; `put` brings a file to where it is to be."""

    def write_version(folder: Path) -> None:
        for name, path in model.version_files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            put(path.absolute(), folder / name)
        write_manifest(folder, model.facts)

    return Draft(
        name=model.config.name,
        config=render(model.config),
        write_version=write_version,
        files=model.files,
    )
