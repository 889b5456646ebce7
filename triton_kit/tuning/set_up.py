"""A TuneSpec into what its trials need: a server, a space, and converted models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import SpecError
from triton_kit.project.load import load_project
from triton_kit.project.spec import Project
from triton_kit.scratch import scratch_folder
from triton_kit.triton.control_http import HttpControl
from triton_kit.tuning.parallel_trials import trials_at_once
from triton_kit.tuning.server import TunedServer, kit_server, user_server
from triton_kit.tuning.space import Space
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.trials import Trials, TrialsInTurn
from triton_kit.tuning.usual_space import make_space
from triton_kit.tuning.variants import Variants, copy_models
from triton_kit.tuning.written_configs import config_check


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """What a search works with.

    Attributes:
        trials: what measures settings.
        space: what is searched.
        variants: what converts models; None: no setting needs it.
    """

    trials: Trials
    space: Space
    variants: Variants | None


@contextmanager
def set_up(
    spec: TuneSpec, originals: Mapping[str, Any] | None, *, measures: bool = True
) -> Iterator[SetUp]:
    """Yield what measures, on its server or servers, for as long as the block runs.

    Args:
        spec: what to tune.
        originals: the configurations that an interrupted run found.
        measures: whether there will be trials: a plan needs one server to ask.

    Raises:
        SpecError: the space, or what the model is, does not allow any of it.
        ServerError: the server does not start, or the model is not ready.
    """
    with ExitStack() as stack:
        variants = _variants(spec, stack) if spec.needs_conversions else None
        trials: Trials
        cores = None
        if spec.at_once is not None:
            project = variants.project if variants else None
            trials = stack.enter_context(
                trials_at_once(spec, project, measures=measures)
            )
            cores = trials.cores
        else:
            repository = variants.repository if variants else spec.repository
            server = stack.enter_context(_server(spec, repository, originals))
            trials = TrialsInTurn(spec, server, variants)
        folder = stack.enter_context(scratch_folder("tune"))
        space = _space(spec, trials.subject, folder, variants, cores)
        yield SetUp(trials=trials, space=space, variants=variants)


def project_of(spec: TuneSpec) -> Project | None:
    """Return the project of a spec, if it has one."""
    if spec.project is None:
        return None
    return load_project(spec.project, target=spec.target)


def _variants(spec: TuneSpec, stack: ExitStack) -> Variants | None:
    project = project_of(spec)
    if project is None or spec.repository is None:
        return None  # the space says what is missing
    folder = stack.enter_context(scratch_folder("tune"))
    copy_models(spec.repository, folder / "models")
    return Variants(
        project=project,
        repository=folder / "models",
        scratch=folder / "work",
        floors=spec.floors,
    )


@contextmanager
def _server(
    spec: TuneSpec, repository: Path | None, originals: Mapping[str, Any] | None
) -> Iterator[TunedServer]:
    if spec.url is None:
        if repository is None:  # the spec has checked it
            raise SpecError("the server of the kit needs a repository")
        with kit_server(
            repository,
            spec.model,
            composing=spec.composing,
            protocol=spec.protocol,
            container=spec.container,
        ) as server:
            yield server
        return
    headers = {**spec.control_headers, **spec.headers}
    with user_server(
        HttpControl(spec.url, headers=headers),
        spec.model,
        url=spec.url,
        composing=spec.composing,
        originals=originals,
    ) as users:
        yield users


def _space(
    spec: TuneSpec,
    subject: Subject,
    folder: Path,
    variants: Variants | None,
    cores: int | None,
) -> Space:
    """Return the space; settings are checked in a scratch copy of the repository."""
    check: Callable[[dict[str, Any]], str] = lambda _: ""  # noqa: E731
    if spec.repository is not None:
        gpus = spec.at_once.gpus_per_trial if spec.at_once else 0
        check = config_check(
            spec.repository, subject.configs, folder, gpus=gpus or None
        )
    return make_space(
        subject,
        spec.space,
        batch_size=spec.batch_size,
        check=check,
        variants=variants,
        cores=cores,
    )
