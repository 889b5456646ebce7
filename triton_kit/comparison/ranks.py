"""The interval of a shift between two samples, by ranks: an outlier has little say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

# Of larger samples the normal distribution is close enough.
_MOST_EXACT = 20
_ROUNDED = 1 + 1e-9  # 1 - 0.9 is a little less than 0.1


def shift_interval(
    before: Sequence[float], after: Sequence[float], *, confidence: float
) -> tuple[float, float] | None:
    """Return where the shift from one sample to the other lies.

    None where so few values cannot be that sure. The ends are differences of single
    values, those that the test of Wilcoxon, Mann and Whitney does not reject.

    Source: Hollander and Wolfe 1999, "Nonparametric Statistical Methods", 4.3.
    """
    differences = sorted(new - old for old in before for new in after)
    count = _cut(len(before), len(after), (1 - confidence) / 2)
    return (differences[count - 1], differences[-count]) if count else None


def _cut(first: int, second: int, tail: float) -> int:
    """Return how many differences each tail leaves out, and one."""
    if max(first, second) > _MOST_EXACT:
        spread = math.sqrt(first * second * (first + second + 1) / 12)
        middle = first * second / 2
        return max(0, int(middle + NormalDist().inv_cdf(tail) * spread))
    total, below, count = math.comb(first + second, first), 0, 0
    for ways in _ways(first, second):
        below += ways
        if below > tail * total * _ROUNDED:
            break
        count += 1
    return count


@cache
def _ways(first: int, second: int) -> tuple[int, ...]:
    """Return in how many orders of two samples the statistic U is 0, 1, 2, ..."""
    size = first * second + 1
    ways = [1] + [0] * (size - 1)
    for number in range(1, first + 1):
        for u in range(size - 1, second + number - 1, -1):
            ways[u] -= ways[u - second - number]
        for u in range(number, size):
            ways[u] += ways[u - number]
    return tuple(ways)
