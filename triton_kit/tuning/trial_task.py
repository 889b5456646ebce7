"""A server of its own in a process of its own, which runs one trial after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any  # JSON

import psutil

from triton_kit.execute.gpus import VISIBLE
from triton_kit.execute.shipment import Shipment, spec_on
from triton_kit.loadtest.run.measure import environment
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.project.spec import Project
from triton_kit.scratch import scratch_folder
from triton_kit.tuning.server import kit_server
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.trial import TrialPlace, TuneTrial
from triton_kit.tuning.trials import Wanted, make_runner
from triton_kit.tuning.variants import Variants, copy_models


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTask:
    """What a process needs for its trials.

    Attributes:
        spec: of the search.
        repository: where the models are on that machine.
        base: what every trial measures, with the paths of that machine.
        project: whose models are converted for trials; None: none are.
    """

    spec: TuneSpec
    repository: Path
    base: PerfSpec
    project: Project | None = None

    def moved(self, shipment: Shipment, folder: str) -> TrialTask:
        """Return the task for a machine that has the files in a folder."""
        project = self.project
        if project is not None:
            root = Path(shipment.path_on(folder, str(project.root)))
            project = replace(project, root=root)
        return replace(
            self,
            repository=Path(shipment.path_on(folder, str(self.repository))),
            base=spec_on(self.base, shipment, folder),
            project=project,
        )

    def variants(self, repository: Path, scratch: Path) -> Variants | None:
        """Return what converts models into a repository; None: nothing is converted."""
        if self.project is None:
            return None
        return Variants(
            project=self.project,
            repository=repository,
            scratch=scratch,
            floors=self.spec.floors,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a process says once its server is ready.

    Attributes:
        subject: what is tuned.
        environment: the machine as the process sees it, with its own cores.
        place: where the trials run.
    """

    subject: Subject
    environment: Mapping[str, Any]
    place: TrialPlace


@contextmanager
def held_trials(
    task: TrialTask,
) -> Iterator[tuple[Greeting, Callable[[Wanted], TuneTrial]]]:
    """Yield what a process says first, and what runs a trial in it.

    Raises:
        ServerError: the server or the model does not start.
    """
    spec = task.spec
    with scratch_folder("tune") as folder:
        repository = folder / "models"
        copy_models(task.repository, repository)
        with kit_server(
            repository, spec.model, composing=spec.composing, protocol=spec.protocol
        ) as server:
            server.cores = len(os.sched_getaffinity(0))
            variants = task.variants(repository, folder / "work")
            runner = make_runner(server, task.base, spec, variants)

            has_gpus = spec.at_once is not None and spec.at_once.gpus_per_trial > 0

            def run(wanted: Wanted) -> TuneTrial:
                trial = runner.run(wanted.settings, wanted.effort, afresh=wanted.afresh)
                return replace(trial, where=_place(server.pid, has_gpus=has_gpus))

            greeting = Greeting(
                subject=server.subject,
                environment=environment(),
                place=_place(server.pid, has_gpus=has_gpus),
            )
            yield greeting, run


def _place(server: int | None, *, has_gpus: bool) -> TrialPlace:
    """Return where a trial ran: with what its server has, by the id of its process."""
    own = os.getpid()
    try:
        cores = os.sched_getaffinity(server or own)
        variables = psutil.Process(server).environ()
    except (ProcessLookupError, psutil.Error):  # it has just died
        cores, variables = os.sched_getaffinity(own), dict(os.environ)
    visible = variables.get(VISIBLE, "") if has_gpus else ""
    gpus = tuple(filter(None, visible.split(",")))
    return TrialPlace(process=own, cores=tuple(sorted(cores)), gpus=gpus)
