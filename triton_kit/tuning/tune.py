"""The one entry point: `tune(spec)` searches, and returns the best settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import ServerError, SpecError
from triton_kit.files import write_whole
from triton_kit.repository.publish.layout import CONFIG_FILE
from triton_kit.tuning.checkpoint import FILE_NAME, Checkpoint
from triton_kit.tuning.decision import Decision
from triton_kit.tuning.evidence import Ask, Told
from triton_kit.tuning.patch import apply_patch, make_patch, patch_text
from triton_kit.tuning.progress import OnPhase, PhaseWatch
from triton_kit.tuning.result import TuneResult
from triton_kit.tuning.search import search
from triton_kit.tuning.set_up import SetUp, project_of, set_up
from triton_kit.tuning.space import Space
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.spending import Spending
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.trial import TuneTrial
from triton_kit.tuning.trials import Wanted
from triton_kit.tuning.variants import Variants
from triton_kit.tuning.written_configs import write_winner, written_configs

PROJECT_FILE = "triton-kit.yaml"
REPOSITORY = "model_repository"
Done = list[tuple[Ask, TuneTrial]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneProgress:
    """How far a search is, after each trial.

    Attributes:
        space: what is searched.
        objective: what counts.
        trials: all so far.
        left: how many the budget still allows, about; None before the first.
        left_s: how long those take, about.
    """

    space: Space
    objective: str
    trials: Sequence[tuple[Ask, TuneTrial]]
    left: int
    left_s: float


OnProgress = Callable[[TuneProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a search would try, and how long it would take.

    Attributes:
        space: the fields and their values.
        combinations: of them, legal or not.
        trials: how many measurements there are at most.
        seconds: how long they take at most, about.
        at_once: how many run at the same time, until the last rounds.
    """

    space: Space
    combinations: int
    trials: int
    seconds: float
    at_once: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {
            "schema": "triton-kit.tune-plan/1",
            "fields": [
                {"name": f.name, "values": list(f.values), "default": f.default}
                for f in self.space.fields
            ],
            "combinations": self.combinations,
            "trials": self.trials,
            "seconds": round(self.seconds),
            "at_once": self.at_once,
        }


def plan(spec: TuneSpec) -> Plan:
    """Return what `tune` would do; the server is asked for the model, nothing is sent.

    Raises:
        SpecError: the space, or what the model is, does not allow any of it.
        ServerError: the model is not ready.
    """
    with set_up(spec, None, measures=False) as ready:
        space, at_once = ready.space, ready.trials.at_once
        spending = Spending(spec.budget, at_once)
        trials, seconds = spending.ahead
        return Plan(
            space=space,
            combinations=space.size,
            trials=trials,
            seconds=spec.budget.seconds or seconds,
            at_once=at_once,
        )


def tune(
    spec: TuneSpec,
    on_progress: OnProgress | None = None,
    *,
    on_phase: OnPhase | None = None,
) -> TuneResult:
    """Find the settings with which a model serves best.

    The folder `spec.output` gets a line for each trial as it ends, and in the end
    `result.json`, `trials.csv`, `best.yaml` and, on the embedded server, a repository
    with the best settings.

    Args:
        spec: what to tune.
        on_progress: called after each trial.
        on_phase: called as each phase begins, the start of the server first.

    Raises:
        SpecError: the space has nothing legal in it, no input data fits the model, or
            the earlier run to go on with had other inputs.
        ServerError: the server is gone for good; `resume` goes on from there.
    """
    path = spec.output / FILE_NAME
    earlier = Checkpoint.resume(path, spec.inputs()) if spec.resume else None
    originals = earlier.originals if earlier else None
    watch = PhaseWatch(on_phase)
    watch.starting(spec)
    with set_up(spec, originals) as ready:
        subject = ready.trials.subject
        checkpoint = earlier or _begin(path, spec, subject)
        if checkpoint.originals != dict(subject.configs):
            raise SpecError(
                f"{path}: the model's configuration has changed since the earlier run",
                hint="start anew: -o DIR",
            )
        repeated = checkpoint.earlier
        if ready.variants is not None:
            ready.variants.on_convert = watch.converting
        searching = _Searching(spec, ready, checkpoint, watch, on_progress)
        decision = searching.run()
        result = _result(spec, ready, decision, searching.done, repeated)
        _write(spec, subject, result, ready.variants)
    return result


def _begin(path: Path, spec: TuneSpec, subject: Subject) -> Checkpoint:
    header = {"inputs": spec.inputs(), "originals": dict(subject.configs)}
    return Checkpoint.begin(path, header)


@dataclass(slots=True)
class _Searching:
    """Answers what the search asks for, from the checkpoint first."""

    spec: TuneSpec
    ready: SetUp
    checkpoint: Checkpoint
    watch: PhaseWatch
    on_progress: OnProgress | None
    done: Done = field(default_factory=list)
    spending: Spending = field(init=False)

    def __post_init__(self) -> None:
        self.spending = Spending(self.spec.budget, self.ready.trials.at_once)

    def run(self) -> Decision:
        """Run the search to its end."""
        spec = self.spec
        asking = search(
            self.ready.space,
            spec.budget,
            method=spec.search,
            seed=spec.seed,
            at_once=self.ready.trials.at_once,
        )
        asks = next(asking)
        while True:
            trials = self._run(asks)
            told = [
                Told(value=trial.value, margins=trial.margins, cost_s=trial.cost_s)
                for trial in trials
            ]
            self.spending.add([trial.cost_s for trial in trials])
            try:
                asks = asking.send(told)
            except StopIteration as end:
                decision: Decision = end.value
                return decision

    def _run(self, asks: Sequence[Ask]) -> list[TuneTrial]:
        self.watch.stage(asks[0].stage)
        before = len(self.done)
        found = self.checkpoint.take(asks)
        for ask, trial in zip(asks, found, strict=True):
            if trial is not None:
                self._note(ask, trial, before)
        missing = [index for index, trial in enumerate(found) if trial is None]

        def on_end(number: int, trial: TuneTrial) -> None:
            ask = asks[missing[number]]
            if not self.done and trial.failure:
                raise ServerError(
                    f"{self.spec.model!r} cannot be measured as it is: {trial.failure}",
                    hint="try it with perf; --input-data and --shape set what is sent",
                )
            self.checkpoint.add(ask, trial)
            found[missing[number]] = trial
            self._note(ask, trial, before)

        space = self.ready.space
        wanted = [
            Wanted(
                settings=space.settings(ask.point),
                effort=ask.effort,
                afresh=ask.afresh,
            )
            for ask in (asks[index] for index in missing)
        ]
        if wanted:
            is_last = asks[0].stage in ("final", "confirm")
            self.ready.trials.measure(wanted, on_end, alone=is_last)
        return [trial for trial in found if trial is not None]

    def _note(self, ask: Ask, trial: TuneTrial, before: int) -> None:
        space = self.ready.space
        if trial.refused:  # also in a resumed search, which asks the same again
            space.refuse(trial.refused)
        self.done.append((ask, trial))
        if self.on_progress is None:
            return
        costs_s = [each.cost_s for _, each in self.done[before:]]
        left, left_s = self.spending.plus(costs_s).ahead
        self.on_progress(
            TuneProgress(
                space=space,
                objective=self.spec.objective.text,
                trials=self.done,
                left=left,
                left_s=left_s,
            )
        )


def _result(
    spec: TuneSpec,
    ready: SetUp,
    decision: Decision,
    trials: Done,
    repeated: int,
) -> TuneResult:
    space, subject = ready.space, ready.trials.subject
    changed = {
        name: value
        for name, value, before in zip(
            (field.name for field in space.fields),
            decision.best,
            space.default,
            strict=True,
        )
        if value != before and decision.outcome in ("winner", "better")
    }
    settings = subject.by_model(changed)
    return TuneResult(
        model=spec.model,
        inputs=spec.inputs(),
        objective=spec.objective,
        space=space,
        decision=decision,
        trials=tuple(trials),
        settings_by_model=settings,
        patch=make_patch(
            subject.configs,
            settings,
            project_of(spec),
            spec.floors,
            written_configs(spec.repository, settings),
        ),
        repeated=repeated,
        environment=ready.trials.environment,
    )


def _write(
    spec: TuneSpec, subject: Subject, result: TuneResult, variants: Variants | None
) -> None:
    head = f"{result.model}: {result.verdict}\nFor {PROJECT_FILE}: tune --apply"
    write_whole(spec.output / "result.json", result.as_text())
    write_whole(spec.output / "trials.csv", result.as_csv())
    write_whole(spec.output / "best.yaml", patch_text(result.patch, head))
    if spec.repository is not None:
        output = spec.output / REPOSITORY
        settings = result.settings_by_model
        made = variants.make_all(settings) if variants else {}
        write_winner(spec.repository, output, subject.configs, settings, made)


def apply(spec: TuneSpec, result: TuneResult) -> list[Path]:
    """Write the best settings where the model comes from; return what was changed.

    In a project that is triton-kit.yaml, which has to be built again; else the
    config.pbtxt of the repository, which becomes that of the search's output.

    Raises:
        SpecError: there is neither, or the file is written in an unusual way.
    """
    if not result.patch:
        return []
    if project := project_of(spec):
        file = project.root / PROJECT_FILE
        apply_patch(project, file, result.patch)
        return [file]
    if spec.repository is None:
        raise SpecError(
            "--apply has no effect without a project or a repository",
            hint=f"the settings are in {spec.output / 'best.yaml'}",
        )
    changed = []
    for name in result.settings_by_model:
        path = spec.repository / name / CONFIG_FILE
        tuned = spec.output / REPOSITORY / name / CONFIG_FILE
        write_whole(path, tuned.read_text(encoding="utf-8"))
        changed.append(path)
    return changed
