"""Request rates that change over time: stages, ramps and spikes in one run."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.net.clock import NS_PER_S, ns

_MOST_STAGES = 1000
_HIGHEST_RATE_HZ = 1e6
_LONGEST_S = 7 * 86_400.0
_NUMBER = r"\d{1,12}(?:\.\d{1,9})?"
_STAGE = re.compile(
    rf"(?:(?P<start>{_NUMBER})\.\.)?(?P<end>{_NUMBER})/s:"
    rf"(?P<length>{_NUMBER})(?P<unit>ms|s|m|h)"
)
_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of time in which the request rate is constant, or changes linearly."""

    start_hz: float
    end_hz: float
    length_s: float

    def __post_init__(self) -> None:
        rates = (self.start_hz, self.end_hz)
        if not (max(rates) <= _HIGHEST_RATE_HZ and 0 < self.length_s <= _LONGEST_S):
            raise SpecError(
                f"stage {self}: need rates up to {_HIGHEST_RATE_HZ:g}/s, and a time of "
                f"more than 0 s and at most {_LONGEST_S:g} s"
            )

    def __str__(self) -> str:
        ramp = "" if self.start_hz == self.end_hz else f"{self.start_hz:g}.."
        return f"{ramp}{self.end_hz:g}/s:{self.length_s:g}s"

    @property
    def requests(self) -> float:
        """Requests that are due in it."""
        return (self.start_hz + self.end_hz) / 2 * self.length_s

    def offset_s(self, count: float) -> float:
        """Return when this many requests have come due since the stage began."""
        slope = (self.end_hz - self.start_hz) / self.length_s
        if not slope:
            return count / self.start_hz
        root = math.sqrt(max(self.start_hz**2 + 2 * slope * count, 0.0))
        # The stable form: no difference of two numbers that are nearly equal.
        return 2 * count / (self.start_hz + root) if count else 0.0


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read `10/s:30s,10..100/s:1m,100/s:500ms`: rates or ramps, and how long.

    Raises:
        SpecError: it is not that, or no request is due.
    """
    stages = tuple(_stage(word.strip()) for word in text.split(","))
    if len(stages) > _MOST_STAGES:
        raise SpecError(f"{len(stages)} stages: at most {_MOST_STAGES}")
    if sum(stage.requests for stage in stages) < 1:
        raise SpecError(f"stages {text!r}: no request is due")
    return stages


def _stage(word: str) -> Stage:
    found = _STAGE.fullmatch(word)
    if found is None:
        raise SpecError(
            f"stage {word!r}: not of the form RATE/s:TIME",
            hint="for example 10/s:30s, or a ramp: 10..100/s:2m; commas between stages",
        )
    end = float(found["end"])
    start = float(found["start"] or end)
    return Stage(start, end, float(found["length"]) * _UNITS_S[found["unit"]])


def due_times(stages: Sequence[Stage], *, seed: int | None) -> Iterator[int]:
    """Yield the due times in ns from the start, until the last stage ends.

    The expected number of requests grows with the rate's integral. Constant gaps place
    a request wherever that number is whole, Poisson arrivals where it has grown by an
    exponential draw.

    Args:
        stages: one after another.
        seed: of Poisson arrivals; None for constant gaps.
    """
    counts: Iterator[float] = itertools.count(0.0)
    if seed is not None:
        counts = _arrivals(seed)
    count, begun, start_s = next(counts), 0.0, 0.0
    for stage in stages:
        while count < begun + stage.requests:
            yield round((start_s + stage.offset_s(count - begun)) * NS_PER_S)
            count = next(counts)
        begun += stage.requests
        start_s += stage.length_s


def stage_finder(stages: Sequence[Stage]) -> Callable[[int], int]:
    """Return the function that tells the index of the stage at a time.

    The time is in ns from the start; what comes after the end is of the last stage.
    """
    ends_s = itertools.accumulate(stage.length_s for stage in stages)
    ends_ns = [ns(end_s) for end_s in ends_s][:-1]
    return lambda at_ns: bisect.bisect_right(ends_ns, at_ns)


def _arrivals(seed: int) -> Iterator[float]:
    draw = np.random.default_rng(seed).exponential
    return itertools.accumulate(
        float(gap) for _ in itertools.count() for gap in draw(1.0, 4096)
    )
