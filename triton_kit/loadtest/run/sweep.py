"""Which loads to measure: all of them, up to the first bad one, or a binary search."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.slo import Objective, missed

# Yields the load to measure next and is sent the run that came of it.
Search = Generator[Load, Run, None]


def is_met(objectives: tuple[Objective, ...], run: Run) -> bool:
    """Whether a run meets every objective, and its requests do not fail."""
    return not missed(objectives, run) and not run.verdict.is_failing


def every(loads: Sequence[Load], _objectives: tuple[Objective, ...]) -> Search:
    """Measure every load."""
    for load in loads:
        _run = yield load


def until_missed(loads: Sequence[Load], objectives: tuple[Objective, ...]) -> Search:
    """Measure one load after another, up to the first that misses an objective."""
    for load in loads:
        run = yield load
        if not is_met(objectives, run):
            return


def binary(loads: Sequence[Load], objectives: tuple[Objective, ...]) -> Search:
    """Find the highest of ascending loads that meets the objectives.

    Assumes that a server that meets them at one load meets them at every lower load.
    Rates are the exception: if those alone are too low, a higher load may have more.
    """
    low, high = 0, len(loads) - 1
    while low <= high:
        middle = (low + high) // 2
        run = yield loads[middle]
        misses = missed(objectives, run)
        if not all(o.is_rate for o in misses) or run.verdict.is_failing:
            high = middle - 1
        else:
            low = middle + 1


SEARCHES = {"every": every, "until-missed": until_missed, "binary": binary}
