"""What is known of each point: its measurements, pooled, and their order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from triton_kit.tuning.space import Point

# Of a bound: a value that is a twentieth of it is as good as one of zero.
_MOST_MARGIN = 3.0
_DOUBT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A measurement that a search wants.

    Attributes:
        point: what to measure.
        stage: `default`, `sample`, `halving`, `climb`, `final` or `confirm`.
        effort: how long, as a multiple of the shortest measurement.
        afresh: whether on a server that is started anew, if it is the kit's.
    """

    point: Point
    stage: str
    effort: float = 1.0
    afresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a measurement found.

    Attributes:
        value: the objective, more is better; 0: the trial failed.
        margins: of each bound the logarithm of value by bound; above 0 it is missed.
        cost_s: how long the trial took.
    """

    value: float
    margins: tuple[float, ...] = ()
    cost_s: float = 0.0


def margin(value: float, bound: float, *, is_rate: bool = False) -> float:
    """Return by how much a bound is missed (above 0) or kept, as a logarithm."""
    if is_rate:
        value, bound = bound, value
    if value <= 0:
        return -_MOST_MARGIN
    if bound <= 0 or math.isinf(value):
        return _MOST_MARGIN
    return max(-_MOST_MARGIN, min(_MOST_MARGIN, math.log(value / bound)))


@dataclass(slots=True)
class Evidence:
    """All measurements of one point."""

    told: list[tuple[float, Told]] = field(default_factory=list)

    def add(self, effort: float, told: Told) -> None:
        """Add one measurement."""
        self.told.append((effort, told))

    @property
    def effort(self) -> float:
        """How long it was measured in all."""
        return sum(effort for effort, _ in self.told)

    @property
    def has_failed(self) -> bool:
        """Whether it could not be measured, once at least."""
        return any(told.value <= 0 for _, told in self.told)

    @property
    def value(self) -> float:
        """The geometric mean of the objective; 0 if a trial failed."""
        if self.has_failed or not self.told:
            return 0.0
        logs = sum(effort * math.log(told.value) for effort, told in self.told)
        return math.exp(logs / self.effort)

    @property
    def margins(self) -> tuple[float, ...]:
        """The mean of each bound's margin."""
        kept = [(effort, told) for effort, told in self.told if told.value > 0]
        efforts = [effort for effort, _ in kept]
        return tuple(
            sum(e * m for e, m in zip(efforts, column, strict=True)) / sum(efforts)
            for column in zip(*(told.margins for _, told in kept), strict=True)
        )

    @property
    def cautious_rank(self) -> tuple[bool, float, float]:
        """The same order, with a bound missed where noise alone may keep it."""
        doubt = _DOUBT / math.sqrt(self.effort) if self.told else 0.0
        missed = sum(max(0.0, margin + doubt) for margin in self.margins)
        return (not self.has_failed, -missed, self.value)

    @property
    def missed(self) -> float:
        """By how much the bounds are missed, summed up; 0: all are met."""
        return sum(max(0.0, margin) for margin in self.margins)

    @property
    def rank(self) -> tuple[bool, float, float]:
        """What puts points in order: the bounds first, then the objective."""
        return (not self.has_failed, -self.missed, self.value)
