"""When each request is due, decided before the first one leaves.

The times are absolute offsets, not gaps: a sender that oversleeps once catches up
instead of drifting, and the wait a late request suffered counts as latency.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.net.clock import NS_PER_S, NS_PER_US

# Drawn at once; an endless schedule takes memory for one block only.
_BLOCK = 4096


def constant(rate_hz: float) -> Iterator[int]:
    """Yield equally spaced times in ns, endlessly, the first one at 0."""
    return (round(index * NS_PER_S / rate_hz) for index in itertools.count())


def poisson(rate_hz: float, *, seed: int) -> Iterator[int]:
    """Yield the times of Poisson arrivals in ns, endlessly.

    Gaps are exponential; the same seed gives the same times.
    """
    generator = np.random.default_rng(seed)
    start = 0.0
    while True:
        gaps = generator.exponential(NS_PER_S / rate_hz, _BLOCK)
        times = start + np.cumsum(gaps)
        start = float(times[-1])
        yield from np.rint(times).astype(np.int64).tolist()


def repeated(gaps_ns: Sequence[int]) -> Iterator[int]:
    """Yield times with these gaps between them, over and over, the first one at 0."""
    return itertools.accumulate(itertools.cycle(gaps_ns), initial=0)


def read_intervals(path: Path) -> tuple[int, ...]:
    """Read perf_analyzer's `--request-intervals` file: gaps in us, one per line.

    Returns:
        The gaps in nanoseconds.

    Raises:
        SpecError: the file cannot be read, or holds something else.
    """
    gaps = _numbers(path)
    if not gaps or min(gaps) < 0 or not sum(gaps):
        raise SpecError(f"{path}: need at least one interval, and one more than 0")
    return tuple(round(gap * NS_PER_US) for gap in gaps)


def read_times(path: Path) -> tuple[int, ...]:
    """Read a trace: the time of each request in ms since the start, one per line.

    Returns:
        The times in nanoseconds, ascending.

    Raises:
        SpecError: the file cannot be read, or the times go back.
    """
    times = _numbers(path)
    if not times or min(times) < 0:
        raise SpecError(f"{path}: need at least one time, none before 0")
    if any(late < early for early, late in itertools.pairwise(times)):
        raise SpecError(f"{path}: the times must ascend")
    return tuple(round(time * NS_PER_US * 1000) for time in times)


def _numbers(path: Path) -> list[float]:
    try:
        lines = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: {error}") from error
    try:
        numbers = [float(line) for line in lines]
    except ValueError as error:
        raise SpecError(f"{path}: {error}", hint="one number per line") from error
    if not all(number < float("inf") for number in numbers):
        raise SpecError(f"{path}: not every number is finite")
    return numbers
