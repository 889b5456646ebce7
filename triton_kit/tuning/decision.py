"""The finalists' measurements become a decision, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the last rounds chose. Luck had a part in it: later rounds confirm the gain.

    Attributes:
        finalists: the best first; one at least is the default.
    """

    finalists: tuple[Finalist, ...]

    @property
    def leader(self) -> Finalist:
        """The best of the finalists."""
        return self.finalists[0]

    @property
    def baseline(self) -> Finalist:
        """The default, at the load where it does best."""
        return next(f for f in self.finalists if f.is_default)

    @property
    def runner_up(self) -> Finalist | None:
        """The second of the finalists."""
        others = self.finalists[1:]
        return next((f for f in others if f.point != self.leader.point), None)

    @property
    def confidence(self) -> float:
        """Of one interval: each other finalist has its share of the error."""
        return 1 - (1 - CONFIDENCE) / max(1, len(self.finalists) - 1)

    @property
    def keeps_bounds(self) -> bool:
        """Whether the leader works, and meets every bound."""
        return not self.leader.evidence.has_failed and self.leader.evidence.missed <= 0

    @property
    def needs_confirmation(self) -> bool:
        """Whether the leader is a point that may be better than the default."""
        return self.keeps_bounds and not self.leader.is_default


def choose(finalists: Sequence[Finalist]) -> Choice:
    """Return what the last rounds chose; one finalist at least is the default."""
    ranked = sorted(finalists, key=lambda f: f.evidence.rank, reverse=True)
    return Choice(finalists=tuple(ranked))


def decide(
    choice: Choice, confirmed: tuple[Finalist, Finalist] | None = None
) -> Decision:
    """Return the decision of a search.

    Args:
        choice: of the last rounds.
        confirmed: later measurements of the default and of the leader, which had no
            part in the choice; None: it needs no confirmation.
    """
    leader, baseline, runner_up = choice.leader, choice.baseline, choice.runner_up
    outcome = _outcome(choice, confirmed)
    before, after = confirmed or (baseline, leader)
    best = baseline if outcome == "no difference found" else leader
    gain = interval = None
    if best is not baseline:
        gain, interval = _gain(before, after), _interval(before, after, CONFIDENCE)
    lead = _interval(runner_up, leader, choice.confidence) if runner_up else None
    return Decision(
        outcome=outcome,
        best=best.point,
        baseline=baseline.point,
        gain=gain,
        gain_interval=interval,
        runner_up=runner_up.point if runner_up else None,
        lead_interval=lead,
        finalists=choice.finalists,
    )


def _outcome(choice: Choice, confirmed: tuple[Finalist, Finalist] | None) -> Outcome:
    if not choice.keeps_bounds:
        return "nothing meets the SLO"
    if confirmed is None:
        return "no difference found"
    before, after = confirmed
    if not _clears(after, before, CONFIDENCE):
        return "no difference found"
    second = choice.runner_up
    if second is None or second.is_default:
        return "winner"
    is_winner = _clears(choice.leader, second, choice.confidence)
    return "winner" if is_winner else "better"


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
