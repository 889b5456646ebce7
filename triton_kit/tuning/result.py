"""What a search found: its decision in words and figures, and the files of it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # JSON

from triton_kit.comparison.conditions import percent
from triton_kit.comparison.statistics import Interval
from triton_kit.tuning.decision import Decision, Finalist
from triton_kit.tuning.evidence import Ask
from triton_kit.tuning.objective import FIGURES, TuneObjective
from triton_kit.tuning.patch import Patch
from triton_kit.tuning.space import Point, Space, Value
from triton_kit.tuning.trial import TuneTrial

SCHEMA = "triton-kit.tune/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """A whole search.

    Attributes:
        model: what was tuned.
        inputs: what was asked for, as JSON.
        objective: what counted.
        space: what was searched.
        decision: what came of it.
        trials: every measurement, in order; those of an interrupted run included.
        settings_by_model: the best settings that the model does not have yet, without
            those of the load.
        patch: what to change in triton-kit.yaml for the best settings.
        repeated: how many of the trials an earlier run had measured.
        environment: the machine, as in results of `perf`.
    """

    model: str
    inputs: Mapping[str, Any]
    objective: TuneObjective
    space: Space
    decision: Decision
    trials: Sequence[tuple[Ask, TuneTrial]]
    settings_by_model: Mapping[str, Mapping[str, Value]]
    patch: Patch
    repeated: int = 0
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """`winner`, `better`, `no difference found` or `nothing meets the SLO`."""
        return self.decision.outcome

    @property
    def best(self) -> dict[str, Value]:
        """The settings to use, by field."""
        return self.space.settings(self.decision.best)

    @property
    def baseline(self) -> dict[str, Value]:
        """What the model has now, at the load where it does best."""
        return self.space.settings(self.decision.baseline)

    @property
    def changes(self) -> dict[str, tuple[Value, Value]]:
        """Field -> value now and best value, of the fields that differ."""
        return {
            name: (before, self.best[name])
            for name, before in self.baseline.items()
            if before != self.best[name]
        }

    @property
    def gain(self) -> float | None:
        """The gain of the objective over the default, as a share."""
        return self.decision.gain

    @property
    def gain_interval(self) -> Interval | None:
        """Where the gain lies, with 95 % confidence."""
        return self.decision.gain_interval

    def figures(self, point: Point) -> dict[str, float]:
        """Return the geometric means of a finalist's figures."""
        rows = [t.figures for t in self._last_trials(point) if not t.failure]
        names = rows[0] if rows else {}
        return {
            name: _mean([row[name] for row in rows if name in row]) for name in names
        }

    def limit(self, point: Point) -> str:
        """Return what limits a finalist, in the last round of it."""
        found = [t.bottleneck for t in self._last_trials(point) if t.bottleneck]
        return str(found[-1]) if found else "not known"

    def _last_trials(self, point: Point) -> list[TuneTrial]:
        """Return a point's trials that confirm its gain, else of the last rounds."""
        by_stage: dict[str, list[TuneTrial]] = {"confirm": [], "final": []}
        for ask, trial in self.trials:
            if ask.point == point and ask.stage in by_stage:
                by_stage[ask.stage].append(trial)
        return by_stage["confirm"] or by_stage["final"]

    @property
    def why(self) -> str:
        """Why the best settings are better, in one sentence."""
        before, after = (
            self.limit(point) for point in (self.decision.baseline, self.decision.best)
        )
        if self.decision.best == self.decision.baseline:
            return f"the default is {before}"
        return f"the default is {before}; the best settings are {after}"

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        gain, interval = self.gain, self.gain_interval
        promise = ""
        if gain is not None:
            ends = (interval.low, interval.high) if interval else ()
            low_high = " to ".join(map(self._percent, ends))
            lies = f" (95 %: {low_high})" if interval else ""
            promise = f"{self.objective.text} {self._percent(gain)}{lies}"
        if self.outcome == "winner":
            return f"winner: {promise}, better than every other finalist"
        if self.outcome == "better":
            return (
                f"better than the default: {promise}; no difference found to the next"
            )
        if self.outcome == "no difference found":
            return "no difference found: the default stays"
        return f"nothing meets the SLO; the closest {self._misses()}"

    def _percent(self, gain: float) -> str:
        if self.objective.only and not FIGURES[self.objective.only][0]:
            # Of a figure of which less is better.
            return percent(1 / (1 + gain) - 1)
        return percent(gain)

    def _misses(self) -> str:
        best = self._finalist(self.decision.best)
        missed = [
            f"misses {text} by {math.expm1(margin):.0%}"
            for text, margin in zip(
                self.inputs["slo"], best.evidence.margins, strict=False
            )
            if margin > 0
        ]
        return " and ".join(missed) or "failed"

    def _finalist(self, point: Point) -> Finalist:
        return next(f for f in self.decision.finalists if f.point == point)

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object (docs/tune.md)."""
        decision = self.decision
        return {
            "schema": SCHEMA,
            "model": self.model,
            "inputs": dict(self.inputs),
            "environment": dict(self.environment),
            "outcome": decision.outcome,
            "verdict": self.verdict,
            "why": self.why,
            "best": self.best,
            "baseline": self.baseline,
            "changes": {name: list(pair) for name, pair in self.changes.items()},
            "gain": decision.gain,
            "gain_interval": _ends(decision.gain_interval),
            "lead_interval": _ends(decision.lead_interval),
            "figures": {
                "best": self.figures(decision.best),
                "baseline": self.figures(decision.baseline),
            },
            "patch": self.patch,
            "fields": [
                {"name": field.name, "values": list(field.values)}
                for field in self.space.fields
            ],
            "trials": [
                {
                    "stage": ask.stage,
                    "effort": ask.effort,
                    "settings": self.space.settings(ask.point),
                    **trial.as_json(),
                }
                for ask, trial in self.trials
            ],
        }

    def as_text(self) -> str:
        """Return the JSON file."""
        return json.dumps(self.as_json(), indent=2) + "\n"

    def as_csv(self) -> str:
        """Return a row for each trial."""
        names = [field.name for field in self.space.fields]
        figures = sorted({name for _, trial in self.trials for name in trial.figures})
        file = io.StringIO()
        writer = csv.writer(file)
        times = ("convert_s", "load_s", "warm_up_s", "measure_s", "cost_s")
        writer.writerow(
            ["stage", "effort", *names, *figures, "value", "failure", *times]
        )
        for ask, trial in self.trials:
            values = [trial.figures.get(name, "") for name in figures]
            writer.writerow(
                [
                    *(ask.stage, ask.effort, *map(shown, ask.point), *values),
                    *(trial.value, trial.failure),
                    *(getattr(trial, name) for name in times),
                ]
            )
        return file.getvalue()

    def __repr__(self) -> str:
        return f"TuneResult({self.model!r}: {self.verdict})"


def shown(value: Value) -> str:
    """Return a value as `--space` takes it."""
    if value is None:
        return "off"
    if isinstance(value, tuple):
        return f"[{','.join(map(shown, value))}]"
    return str(value)


def settings_text(settings: Mapping[str, Value]) -> str:
    """Return settings on one line."""
    return ", ".join(f"{name}={shown(value)}" for name, value in settings.items())


def _mean(values: Sequence[float]) -> float:
    if not values or min(values) <= 0:
        return sum(values) / len(values) if values else 0.0
    return math.exp(sum(map(math.log, values)) / len(values))


def _ends(interval: Interval | None) -> list[float | None] | None:
    if interval is None:
        return None
    return [
        end if math.isfinite(end) else None for end in (interval.low, interval.high)
    ]
