"""The finalists' measurements become a decision, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Literal

from triton_kit.comparison.figures import RESOLUTION
from triton_kit.comparison.statistics import Interval, Sample, change_interval
from triton_kit.tuning.evidence import Evidence
from triton_kit.tuning.space import Point

CONFIDENCE = 0.95
Outcome = Literal["winner", "better", "no difference found", "nothing meets the SLO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """One point of the last rounds.

    Attributes:
        is_default: whether the model is as it was; the load may be another.
    """

    point: Point
    evidence: Evidence
    is_default: bool = False

    @property
    def values(self) -> tuple[float, ...]:
        """The objective in each round that did not fail."""
        return tuple(told.value for _, told in self.evidence.told if told.value > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a search decided.

    Attributes:
        outcome: `winner`: better than the default and every other finalist; `better`:
            than the default, and no different from the runner-up; `no difference
            found`: the default stays; or no point keeps the bounds.
        best: the point to use; of the last outcome the closest one.
        baseline: the default, at the load where it does best.
        gain: of the objective over the baseline, as a share; None: not known.
        gain_interval: where the gain lies, with 95 % confidence.
        runner_up: the second of the finalists, if there is one.
        lead_interval: where the gain over the runner-up lies, with 95 % confidence for
            all finalists.
        finalists: the best first.
    """

    outcome: Outcome
    best: Point
    baseline: Point
    gain: float | None = None
    gain_interval: Interval | None = None
    runner_up: Point | None = None
    lead_interval: Interval | None = None
    finalists: tuple[Finalist, ...] = ()


def decide(finalists: Sequence[Finalist]) -> Decision:
    """Return the decision of the last rounds; one finalist at least is the default."""
    ranked = sorted(finalists, key=lambda f: f.evidence.rank, reverse=True)
    defaults = [finalist for finalist in ranked if finalist.is_default]
    baseline, leader = defaults[0], ranked[0]
    # One share of the error for each finalist that the leader is held against.
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(ranked) - 1)
    runner_up = next((f for f in ranked[1:] if f.point != leader.point), None)
    outcome = _outcome(leader, baseline, runner_up, confidence)
    is_kept = outcome == "no difference found"
    best = baseline if is_kept else leader
    gain = interval = None
    if best is not baseline:
        gain = _gain(baseline, best)
        interval = _interval(baseline, best, confidence)
    return Decision(
        outcome=outcome,
        best=best.point,
        baseline=baseline.point,
        gain=gain,
        gain_interval=interval,
        runner_up=runner_up.point if runner_up else None,
        lead_interval=_interval(runner_up, leader, confidence) if runner_up else None,
        finalists=tuple(ranked),
    )


def confirm(decision: Decision, before: Finalist, after: Finalist) -> Decision:
    """Return the decision with the gain that later measurements found.

    They had no part in the choice, so luck in the last rounds does not flatter them.

    Args:
        decision: a winner, or a point better than the default.
        before, after: the later measurements of the default and of the best point.
    """
    if not _clears(after, before, CONFIDENCE):
        return replace(
            decision,
            outcome="no difference found",
            best=decision.baseline,
            gain=None,
            gain_interval=None,
        )
    return replace(
        decision,
        gain=_gain(before, after),
        gain_interval=_interval(before, after, CONFIDENCE),
    )


def _outcome(
    leader: Finalist,
    baseline: Finalist,
    runner_up: Finalist | None,
    confidence: float,
) -> Outcome:
    if leader.evidence.has_failed or leader.evidence.missed > 0:
        return "nothing meets the SLO"
    if leader.is_default or not _clears(leader, baseline, confidence):
        return "no difference found"
    if runner_up is None or _clears(leader, runner_up, confidence):
        return "winner"
    return "better"


def _clears(leader: Finalist, other: Finalist, confidence: float) -> bool:
    """Whether the leader is better by more than noise."""
    if not other.values:  # it failed in every round; a single failure proves nothing
        return True
    interval = _interval(other, leader, confidence)
    if interval is not None and interval.low > 0:
        return True
    return other.evidence.missed > 0 and _clears_bounds(leader, other, confidence)


def _clears_bounds(leader: Finalist, other: Finalist, confidence: float) -> bool:
    """Whether the other misses a bound that the leader keeps by more than noise."""
    for index, margin in enumerate(other.evidence.margins):
        if margin <= 0:
            continue
        missed, kept = (
            Sample.of_repeats(
                [math.exp(t.margins[index]) for _, t in f.evidence.told if t.value > 0]
            )
            for f in (other, leader)
        )
        interval = change_interval(
            missed, kept, confidence=confidence, resolution=RESOLUTION
        )
        if interval is not None and interval.high < 0:
            return True
    return False


def _gain(before: Finalist, after: Finalist) -> float | None:
    if not before.values or not after.values:
        return None
    first, second = (geometric_mean(f.values) for f in (before, after))
    return second / first - 1


def _interval(before: Finalist, after: Finalist, confidence: float) -> Interval | None:
    if not before.values or not after.values:
        return None
    return change_interval(
        Sample.of_repeats(before.values),
        Sample.of_repeats(after.values),
        confidence=confidence,
        resolution=RESOLUTION,
    )
