"""Trials at the same time, each in a process with a server and cores of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any  # JSON

from triton_kit.build_many import project_files
from triton_kit.built import target_of
from triton_kit.errors import ServerError, SpecError
from triton_kit.execute.cluster import chosen_cluster
from triton_kit.execute.cores import Cores, divide, own_cores
from triton_kit.execute.gpus import Gpus, divide_gpus, own_gpus
from triton_kit.execute.held import Ended, Held, Slots
from triton_kit.execute.held_processes import local_slots
from triton_kit.execute.shipment import files_of
from triton_kit.project.spec import Project
from triton_kit.tuning.at_once import TrialsAtOnce
from triton_kit.tuning.named_gpus import require_named_gpus
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.trial import TuneTrial
from triton_kit.tuning.trial_task import Greeting, TrialTask
from triton_kit.tuning.trials import OnEnd, Wanted, base_spec

_CALL = "triton_kit.tuning.trial_task:held_trials"


class TrialsSideBySide:
    """Hands trials to processes; those of the last rounds to the first one alone.

    Args:
        slots: the processes.
        at_once: how many trials there would be at once, if there were not one process
            for a plan.
    """

    def __init__(self, slots: Slots, at_once: int) -> None:
        self._slots, self.at_once = slots, at_once
        self._greetings: Sequence[Greeting] = slots.greetings
        self._live = list(range(at_once))

    @property
    def subject(self) -> Subject:
        """What is tuned."""
        return self._greetings[0].subject

    @property
    def environment(self) -> Mapping[str, Any]:
        """The machine of the first process, which has the last rounds."""
        return self._greetings[self._live[0]].environment

    @property
    def cores(self) -> int:
        """How many cores a trial has."""
        return len(self._slots.cores(0))

    def measure(
        self, wanted: Sequence[Wanted], on_end: OnEnd, *, alone: bool = False
    ) -> None:
        """Run trials, one for each process at a time."""
        if alone and len(self._live) > 1:
            up = [slot for slot in self._live if self._slots.is_up(slot)]
            self._live = (up or self._live)[:1]
            self._slots.keep(self._live[0])
        idle = deque(self._live)
        left = deque(range(len(wanted)))
        running: dict[int, int] = {}
        while left or running:
            for slot in [*idle]:
                if left and self._slots.begin(slot, wanted[left[0]]):
                    running[slot] = left.popleft()
                    idle.remove(slot)
            if not running:
                raise ServerError(
                    "no node has room for a trial any more",
                    hint="go on with --resume once the cluster has",
                )
            for ended in self._slots.wait():
                on_end(running.pop(ended.slot), self._trial(ended))
                idle.append(ended.slot)

    def _trial(self, ended: Ended) -> TuneTrial:
        if ended.error:
            raise ended.error
        node = self._slots.node(ended.slot)
        if ended.died:
            place = self._greetings[ended.slot].place
            on_node = f" on {node}" if node else ""
            failure = f"the process of the trial died{on_node}: {ended.died}"
            trial = TuneTrial(failure=failure, figures={}, where=place)
        else:
            trial = ended.value
        assert trial.where is not None
        return replace(trial, where=replace(trial.where, node=node))


@contextmanager
def trials_at_once(
    spec: TuneSpec, project: Project | None = None, *, measures: bool = True
) -> Iterator[TrialsSideBySide]:
    """Yield what measures settings of a search several at once.

    Args:
        spec: of the search, with `at_once`.
        project: whose models are converted for trials; None: none are.
        measures: whether there will be trials; a plan needs one process.

    Raises:
        SpecError: there are too few cores or GPUs, a model names a GPU that a trial
            lacks, or what a conversion needs does not travel.
        ServerError: a server or the model does not start.
    """
    wanted, repository = spec.at_once, spec.repository
    if wanted is None or repository is None:  # the spec has checked it
        raise SpecError("trials at once need a repository")
    if count := wanted.gpus_per_trial:
        models = (spec.model, *spec.composing)
        require_named_gpus(repository, models, count)
    base = base_spec(spec)
    task = TrialTask(
        spec=spec, repository=repository.absolute(), base=base, project=project
    )
    folders = {}
    if project is not None and wanted.executor != "local":
        folders[str(project.root)] = _sent_files(spec, project)
    held = Held(
        call=_CALL,
        argument=task,
        files=(str(task.repository), *files_of(base)),
        folders=folders,
        moved=task.moved,
    )
    with _slots(held, wanted, measures=measures) as (slots, at_once):
        yield TrialsSideBySide(slots, at_once)


def _sent_files(spec: TuneSpec, project: Project) -> dict[str, Path]:
    """Return the files of a project that the nodes need to convert its models."""
    if target_of(project).format == "plan":
        raise SpecError(
            "plans in the space of trials on nodes: the winner's plan is built here, "
            "for this machine's GPU",
            hint="tune on the machine with the GPUs: --executor local --gpus-per-trial "
            "1",
        )
    outputs = [spec.output, *([spec.repository] if spec.repository else [])]
    return project_files(project, spec.converted & {*project.spec.models}, outputs)


@contextmanager
def _slots(
    held: Held, wanted: TrialsAtOnce, *, measures: bool
) -> Iterator[tuple[Slots, int]]:
    """Yield processes, and how many there are if there will be trials."""
    cluster = chosen_cluster(wanted.executor)
    if cluster is not None:
        from triton_kit.execute.ray_held import Room, ray_slots

        room = Room(
            count=wanted.parallel,
            cores=wanted.cores_per_trial,
            gpus=wanted.gpus_per_trial,
            may_share=wanted.share_cores,
        )
        with ray_slots(cluster, held, room, most=None if measures else 1) as there:
            yield there, there.count
        return
    cores, gpus = _divided(wanted)
    most = None if measures else 1
    with local_slots(held, cores[:most], gpus[:most]) as here:
        yield here, len(cores)


def _divided(wanted: TrialsAtOnce) -> tuple[list[Cores], list[Gpus]]:
    """Return the cores and the GPUs of each trial on this machine."""
    cores, size = own_cores(), wanted.cores_per_trial
    each = wanted.gpus_per_trial
    gpus = own_gpus() if each else ()
    count = wanted.parallel or 1
    if each and not wanted.parallel:
        count = len(gpus) // each
        if not wanted.share_cores:
            count = min(count, len(cores) // (size or 1))
        count = max(1, count)
    parts = divide_gpus(gpus, count, each) if each else []
    return divide(cores, count, size, may_share=wanted.share_cores), parts
