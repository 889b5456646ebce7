"""Latency histograms with logarithmic buckets: fixed memory, mergeable, bounded error.

A value is put into a bucket by the leading bits of its floating-point form: the
exponent and the first 8 bits of the mantissa. Buckets are therefore at most 1/256 of
their lower bound wide, and their middle is at most 1/512 (0.2 %) off any value in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_MANTISSA_BITS = 8
_SHIFT = 52 - _MANTISSA_BITS
_OFFSET = 1023 << _MANTISSA_BITS
# Values from 1 ns to 2**43 ns (2.4 hours); anything longer counts as the longest.
_EXPONENTS = 43
LONGEST_NS = 2**_EXPONENTS
BUCKETS = _EXPONENTS << _MANTISSA_BITS

# The largest relative error of a quantile, from the width of a bucket alone.
RELATIVE_ERROR = 2.0 ** -(_MANTISSA_BITS + 1)


class Histogram:
    """Counts of values in nanoseconds, with exact count, sum, minimum and maximum."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BUCKETS, np.int64)
        self.count = 0
        self.sum_ns = 0
        self.sum_of_squares = 0.0
        self.min_ns = 0
        self.max_ns = 0

    def __getstate__(self) -> tuple[Any, ...]:
        """Return what pickle writes: the buckets in use, which are few."""
        used = np.flatnonzero(self.counts)
        exact = (self.count, self.sum_ns, self.sum_of_squares, self.min_ns, self.max_ns)
        return used.astype(np.uint16), self.counts[used], exact

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take what pickle read."""
        used, counts, exact = state
        self.counts = np.zeros(BUCKETS, np.int64)
        self.counts[used] = counts
        self.count, self.sum_ns, self.sum_of_squares, self.min_ns, self.max_ns = exact

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Count every value, int64 of shape (n,); values below 1 count as 1."""
        if not len(values_ns):
            return
        values = np.maximum(values_ns, 1)
        floats = values.astype(np.float64)
        index = (floats.view(np.int64) >> _SHIFT) - _OFFSET
        np.minimum(index, BUCKETS - 1, out=index)
        self.counts += np.bincount(index, minlength=BUCKETS)
        self._add_moments(
            count=len(values),
            sum_ns=int(values.sum()),
            squares=float(np.dot(floats, floats)),
            lowest=int(values.min()),
            highest=int(values.max()),
        )

    def merge(self, other: Histogram) -> None:
        """Count everything that `other` counted; merges may come in any order."""
        if not other.count:
            return
        self.counts += other.counts
        self._add_moments(
            count=other.count,
            sum_ns=other.sum_ns,
            squares=other.sum_of_squares,
            lowest=other.min_ns,
            highest=other.max_ns,
        )

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Self:
        """Return a new histogram that holds all of `histograms`."""
        whole = cls()
        for histogram in histograms:
            whole.merge(histogram)
        return whole

    def quantile_ns(self, fraction: float) -> float:
        """Return the value that `fraction` of all values do not exceed (0 when empty).

        The nearest-rank definition: always a value that occurred, up to
        RELATIVE_ERROR.
        """
        if not self.count:
            return 0.0
        rank = max(math.ceil(fraction * self.count - 1e-9), 1)
        index = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(max(_middle(index), float(self.min_ns)), float(self.max_ns))

    def values_ns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the value that stands for each bucket in use, and its count.

        Both int64 of shape (n,), values ascending, none beyond minimum and maximum.
        """
        used = np.flatnonzero(self.counts)
        starts = _starts(np.stack([used, used + 1]))
        values = starts.mean(axis=0).astype(np.int64)
        return np.clip(values, self.min_ns, self.max_ns), self.counts[used]

    def grouped_ns(self, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each of at most `most` groups of buckets ends, and its count.

        Both int64 of shape (n,). The groups are of equal width on a logarithmic axis;
        empty ones are left out.
        """
        used = np.flatnonzero(self.counts)
        if not len(used):
            return used, used
        width = -(-int(used[-1] - used[0] + 1) // most)
        group, first = np.unique((used - used[0]) // width, return_index=True)
        ends = np.ceil(_starts(used[0] + (group + 1) * width)).astype(np.int64)
        counts = np.add.reduceat(self.counts[used], first)
        return np.minimum(ends, self.max_ns), counts

    @property
    def mean_ns(self) -> float:
        """The mean, exact."""
        return self.sum_ns / self.count if self.count else 0.0

    @property
    def deviation_ns(self) -> float:
        """The standard deviation."""
        if not self.count:
            return 0.0
        variance = self.sum_of_squares / self.count - self.mean_ns**2
        return math.sqrt(max(variance, 0.0))

    def _add_moments(
        self, *, count: int, sum_ns: int, squares: float, lowest: int, highest: int
    ) -> None:
        self.min_ns = min(self.min_ns, lowest) if self.count else lowest
        self.max_ns = max(self.max_ns, highest)
        self.count += count
        self.sum_ns += sum_ns
        self.sum_of_squares += squares


def bucket_start(index: int) -> float:
    """Return the lowest value of a bucket, in ns."""
    exponent, mantissa = divmod(index, 1 << _MANTISSA_BITS)
    return float(2.0**exponent * (1 + mantissa / (1 << _MANTISSA_BITS)))


def _starts(indexes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the lowest values of buckets, in ns; the same shape."""
    return ((indexes + _OFFSET) << _SHIFT).view(np.float64)


def _middle(index: int) -> float:
    return (bucket_start(index) + bucket_start(index + 1)) / 2
