"""Intervals of the change between two sets of measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, geometric_mean, median, stdev

from triton_kit.comparison.ranks import shift_interval

# Of expm1: a float has no larger power of e.
_MOST = 709.0
# Of so many repeated runs ranks tell enough.
LEAST_RANKED = 8


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a change probably lies, as a share: 0.05 is 5 % more.

    Attributes:
        low, high: its ends; both may be infinite.
    """

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether there is a change, whatever its size."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One figure, measured a number of times under the same conditions.

    Attributes:
        point: the figure that is shown.
        values: the same figure of each repeated run, or of each window of one run;
            fewer than two say nothing about its noise.
        noise: what else the figure varies by, as a share (standard deviation): two
            runs of the same load differ by more than the windows within one.
    """

    point: float
    values: tuple[float, ...]
    noise: float = 0.0

    @classmethod
    def of_repeats(cls, values: Sequence[float]) -> Sample:
        """Return the sample of several runs; its point is their geometric mean.

        Of eight runs and more it is the median, which an outlier does not move. A run
        without a successful response makes the point 0.
        """
        middle = median if len(values) >= LEAST_RANKED else geometric_mean
        point = middle(values) if min(values) > 0 else 0.0
        return cls(point=point, values=tuple(values))

    @property
    def error(self) -> tuple[float, float]:
        """The standard error of the logarithm of the point; its degrees of freedom."""
        count = len(self.values)
        return stdev(map(math.log, self.values)) / math.sqrt(count), count - 1


def change(before: float, after: float) -> float:
    """Return how much more `after` is, as a share; infinite if `before` is zero."""
    if before == after:
        return 0.0
    return after / before - 1 if before else math.inf


def change_interval(
    before: Sample, after: Sample, *, confidence: float, resolution: float
) -> Interval | None:
    """Return the interval of the change of a figure; None where its noise is unknown.

    Welch's interval for the difference of two means, of logarithms: latencies and rates
    vary by shares. A bootstrap of so few values (three windows, five runs) gives
    intervals that are too narrow. From eight repeated runs on the interval is by ranks:
    a run that something disturbed does not widen it.

    Args:
        confidence: how surely the change lies in it, for example 0.95.
        resolution: the relative error of one figure; that of a histogram's quantile.
    """
    samples = (before, after)
    if any(len(s.values) < 2 or min(s.values) <= 0 or s.point <= 0 for s in samples):
        return None
    if ranked := _by_ranks(before, after, confidence):
        low, high = ranked
        return Interval(_share(low - 2 * resolution), _share(high + 2 * resolution))
    errors = [sample.error for sample in samples]
    within = sum(error**2 for error, _ in errors)
    freedom = min(count for _, count in errors)
    if within:
        freedom = within**2 / sum(error**4 / count for error, count in errors)
    quantile = t_quantile(0.5 + confidence / 2, freedom)
    known = sum(sample.noise**2 for sample in samples)
    normal = NormalDist().inv_cdf(0.5 + confidence / 2)
    half = math.sqrt(within * quantile**2 + known * normal**2) + 2 * resolution
    middle = math.log(after.point / before.point)
    return Interval(_share(middle - half), _share(middle + half))


def _by_ranks(
    before: Sample, after: Sample, confidence: float
) -> tuple[float, float] | None:
    """Return the interval of the logarithm of the change; None of too few values."""
    samples = (before, after)
    if any(len(s.values) < LEAST_RANKED or s.noise for s in samples):
        return None
    logs = [[math.log(value) for value in sample.values] for sample in samples]
    return shift_interval(*logs, confidence=confidence)


def _share(logarithm: float) -> float:
    """Return a change of a logarithm as a share; infinite beyond a float's range."""
    return math.expm1(logarithm) if logarithm < _MOST else math.inf


def share_interval(
    before: tuple[int, int], after: tuple[int, int], *, confidence: float
) -> Interval | None:
    """Return the interval of the difference of two shares, each (count, of all).

    Source: Newcombe 1998, "Interval estimation for the difference between independent
    proportions", method 10 (Wilson's intervals, combined).
    """
    if not before[1] or not after[1]:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share_1, (low_1, high_1) = before[0] / before[1], _wilson(*before, z)
    share_2, (low_2, high_2) = after[0] / after[1], _wilson(*after, z)
    middle = share_2 - share_1
    down = math.hypot(share_2 - low_2, high_1 - share_1)
    up = math.hypot(high_2 - share_2, share_1 - low_1)
    return Interval(middle - down, middle + up)


def _wilson(count: int, of_all: int, z: float) -> tuple[float, float]:
    share = count / of_all
    middle = share + z * z / (2 * of_all)
    half = z * math.sqrt(share * (1 - share) / of_all + (z / (2 * of_all)) ** 2)
    scale = 1 + z * z / of_all
    return (middle - half) / scale, (middle + half) / scale


def t_quantile(share: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution, for a share above one half.

    Newton's method from the normal distribution's quantile, which is no larger. The
    distribution function is concave above zero, so every step stays on that side.
    """
    t, before = NormalDist().inv_cdf(share), -1.0
    while t - before > 1e-9 * t:
        before = t
        t += (share - _t_share(t, freedom)) / _t_density(t, freedom)
    return t


def _t_density(t: float, freedom: float) -> float:
    """Return the density of Student's t distribution at t."""
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    power = -(freedom + 1) / 2 * math.log1p(t * t / freedom)
    return math.exp(scale + power) / math.sqrt(freedom * math.pi)


def _t_share(t: float, freedom: float) -> float:
    """Return the share of Student's t distribution below t, for t >= 0."""
    x = freedom / (freedom + t * t)
    return 1 - 0.5 * _incomplete_beta(freedom / 2, 0.5, x)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction.

    Source: Abramowitz and Stegun 1964, 26.5.8 and, for its other half, 26.5.2.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    scale = math.exp(
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
    )
    # Evaluated from behind; 200 terms are enough for any x on this side.
    fraction = 1.0
    for m in range(200, 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x
        odd /= (a + 2 * m - 2) * (a + 2 * m - 1)
        fraction = 1 + odd / (1 + even / fraction)
    return scale / (a * fraction)
