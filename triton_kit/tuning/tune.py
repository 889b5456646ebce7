"""The one entry point: `tune(spec)` searches, and returns the best settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import ServerError, SpecError
from triton_kit.files import write_whole
from triton_kit.loadtest.run.measure import environment
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.repository.publish.layout import CONFIG_FILE
from triton_kit.tuning.budget import USUAL_CHECKS_S
from triton_kit.tuning.checkpoint import FILE_NAME, Checkpoint
from triton_kit.tuning.decision import Decision
from triton_kit.tuning.evidence import Ask, Told
from triton_kit.tuning.patch import apply_patch, make_patch, patch_text
from triton_kit.tuning.progress import OnPhase, PhaseWatch
from triton_kit.tuning.result import TuneResult
from triton_kit.tuning.search import search
from triton_kit.tuning.server import (
    KitServer,
)
from triton_kit.tuning.set_up import project_of, set_up
from triton_kit.tuning.space import Space
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.trial import TrialRunner, TuneTrial
from triton_kit.tuning.variants import Variants
from triton_kit.tuning.written_configs import tuned_text, write_winner

PROJECT_FILE = "triton-kit.yaml"
REPOSITORY = "model_repository"
Trials = list[tuple[Ask, TuneTrial]]


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
    """

    space: Space
    combinations: int
    trials: int
    seconds: float

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
        }


def plan(spec: TuneSpec) -> Plan:
    """Return what `tune` would do; the server is asked for the model, nothing is sent.

    Raises:
        SpecError: the space, or what the model is, does not allow any of it.
        ServerError: the model is not ready.
    """
    with set_up(spec, None) as ready:
        space = ready.space
        trials = spec.budget.left(0, 0.0)
        seconds = spec.budget.seconds or trials * USUAL_CHECKS_S
        return Plan(
            space=space, combinations=space.size, trials=trials, seconds=seconds
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
        server, space = ready.server, ready.space
        checkpoint = earlier or _begin(path, spec, server.subject)
        if checkpoint.originals != dict(server.subject.configs):
            raise SpecError(
                f"{path}: the model's configuration has changed since the earlier run",
                hint="start anew: -o DIR",
            )
        repeated = checkpoint.earlier
        if ready.variants is not None:
            ready.variants.on_convert = watch.converting
        runner = TrialRunner(
            server, _base(spec), spec.objective, spec.slo, ready.variants
        )
        if "joules" in spec.objective.weights and isinstance(server, KitServer):
            server.metrics_url = server.metrics_address
        answers = _Searching(spec, space, runner, checkpoint, watch, on_progress)
        decision = answers.run()
        done, subject = answers.trials, server.subject
        result = _result(spec, subject, space, decision, done, repeated)
        _write(spec, subject, result, ready.variants)
    return result


def _begin(path: Path, spec: TuneSpec, subject: Subject) -> Checkpoint:
    header = {"inputs": spec.inputs(), "originals": dict(subject.configs)}
    return Checkpoint.begin(path, header)


def _base(spec: TuneSpec) -> PerfSpec:
    return PerfSpec(
        url=spec.url or "localhost",
        model=spec.model,
        protocol=spec.protocol,
        shapes=spec.shapes,
        input_data=spec.input_data,
        headers=spec.headers,
        composing=spec.composing,
        slo=spec.slo,
        seed=spec.seed,
    )


@dataclass(slots=True)
class _Searching:
    """Answers what the search asks for, from the checkpoint first."""

    spec: TuneSpec
    space: Space
    runner: TrialRunner
    checkpoint: Checkpoint
    watch: PhaseWatch
    on_progress: OnProgress | None
    trials: Trials = field(default_factory=list)
    spent_s: float = field(default=0.0)

    def run(self) -> Decision:
        """Run the search to its end."""
        spec = self.spec
        asks = search(self.space, spec.budget, method=spec.search, seed=spec.seed)
        ask = next(asks)
        while True:
            trial = self._trial(ask)
            told = Told(value=trial.value, margins=trial.margins, cost_s=trial.cost_s)
            try:
                ask = asks.send(told)
            except StopIteration as end:
                decision: Decision = end.value
                return decision

    def _trial(self, ask: Ask) -> TuneTrial:
        self.watch.stage(ask.stage)
        trial = self.checkpoint.take(ask)
        if trial is None:
            trial = self.runner.run(self.space.settings(ask.point), ask.effort)
            if not self.trials and trial.failure:
                raise ServerError(
                    f"{self.spec.model!r} cannot be measured as it is: {trial.failure}",
                    hint="try it with perf; --input-data and --shape set what is sent",
                )
            self.checkpoint.add(ask, trial)
        if trial.refused:  # also in a resumed search, which asks the same again
            self.space.refuse(trial.refused)
        self.trials.append((ask, trial))
        self.spent_s += trial.cost_s
        if self.on_progress:
            count = len(self.trials)
            left = max(0, self.spec.budget.left(count, self.spent_s))
            self.on_progress(
                TuneProgress(
                    space=self.space,
                    objective=self.spec.objective.text,
                    trials=self.trials,
                    left=left,
                    left_s=left * self.spent_s / count,
                )
            )
        return trial


def _result(
    spec: TuneSpec,
    subject: Subject,
    space: Space,
    decision: Decision,
    trials: Trials,
    repeated: int,
) -> TuneResult:
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
        patch=make_patch(subject.configs, settings, project_of(spec), spec.floors),
        repeated=repeated,
        environment=environment(),
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
    config.pbtxt of the repository.

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
    for name, settings in result.settings_by_model.items():
        path = spec.repository / name / CONFIG_FILE
        write_whole(path, tuned_text(path.parent, name, settings))
        changed.append(path)
    return changed
