"""How fast requests are sent: a number of them in flight, or each at its time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.loadtest.loops import schedule
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.loop_setup import LoopSetup
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.quota import Quota
from triton_kit.loadtest.loops.stages import Stage, due_times

_MOST_CONCURRENT = 16_384
_HIGHEST_RATE_HZ = 1e6
_LOWEST_RATE_HZ = 1e-6
_MOST_LOADS = 10_000

_DISTRIBUTIONS = ("constant", "poisson")


class Load(Protocol):
    """One load: how many requests, and when."""

    @property
    def concurrency(self) -> int | None:
        """Requests in flight at most; None where each request has a due time."""

    @property
    def levels(self) -> Sequence[int]:
        """The concurrency of each level, of a load that is raised step by step."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages of a load whose rate changes over time."""

    def __str__(self) -> str: ...

    @property
    def due_per_s(self) -> float | None:
        """Requests that are due per second, where that does not change."""

    def loop(self, setup: LoopSetup) -> ClosedLoop | OpenLoop:
        """Return the loop that sends this load, or one process's share of it."""

    def as_json(self) -> dict[str, object]:
        """Return the load as it stands in the JSON result."""


@dataclass(frozen=True, slots=True)
class ClosedLoad:
    """A fixed number of requests in flight."""

    concurrency: int
    levels: ClassVar[Sequence[int]] = ()
    stages: ClassVar[Sequence[Stage]] = ()
    due_per_s: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= _MOST_CONCURRENT:
            raise SpecError(
                f"concurrency {self.concurrency}: need 1 to {_MOST_CONCURRENT}"
            )

    def __str__(self) -> str:
        return f"concurrency {self.concurrency}"

    def loop(self, setup: LoopSetup) -> ClosedLoop:
        """Return a closed loop with this process's share of the concurrency."""
        return ClosedLoop(
            setup.reactor,
            setup.transport,
            setup.requests,
            concurrency=setup.share.of(self.concurrency),
            sequence_source=setup.sequence_source,
            tracker=setup.tracker,
        )

    def as_json(self) -> dict[str, object]:
        """Return the load as it stands in the JSON result."""
        return {"kind": "closed", "concurrency": self.concurrency}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLoad:
    """A number of requests per second, whether or not the server keeps up.

    Attributes:
        rate_hz: requests per second, on average.
        distribution: `constant` gaps, or `poisson` arrivals.
        seed: of the Poisson arrivals; the same seed gives the same times.
    """

    rate_hz: float
    distribution: str = "constant"
    seed: int = 0
    concurrency: ClassVar[None] = None
    levels: ClassVar[Sequence[int]] = ()
    stages: ClassVar[Sequence[Stage]] = ()

    def __post_init__(self) -> None:
        if not _LOWEST_RATE_HZ <= self.rate_hz <= _HIGHEST_RATE_HZ:
            raise SpecError(
                f"request rate {self.rate_hz:g}/s: need {_LOWEST_RATE_HZ:g} to "
                f"{_HIGHEST_RATE_HZ:g}"
            )
        _check_distribution(self.distribution)

    def __str__(self) -> str:
        # Two rates of a range have two names, and 0.1 + 2 * 0.1 is called 0.3.
        return f"{self.rate_hz:.12g}/s {self.distribution}"

    @property
    def due_per_s(self) -> float:
        """The rate."""
        return self.rate_hz

    def loop(self, setup: LoopSetup) -> OpenLoop:
        """Return an open loop with this process's share of the due times."""
        return _open_loop(self.times, setup)

    def times(self) -> Iterator[int]:
        """Yield the send times in ns from the start, endlessly."""
        if self.distribution == "poisson":
            return schedule.poisson(self.rate_hz, seed=self.seed)
        return schedule.constant(self.rate_hz)

    def as_json(self) -> dict[str, object]:
        """Return the load as it stands in the JSON result."""
        shown: dict[str, object] = {
            "kind": "open",
            "rate": self.rate_hz,
            "distribution": self.distribution,
        }
        return shown | ({"seed": self.seed} if self.distribution == "poisson" else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLoad:
    """Requests at given times.

    Attributes:
        times_ns: gaps between requests, repeated without end; or due times, used once.
        is_repeated: whether `times_ns` are gaps.
        name: the name in the table, from the file that the times were read from.
    """

    times_ns: tuple[int, ...] = field(repr=False)
    is_repeated: bool
    name: str
    concurrency: ClassVar[None] = None
    levels: ClassVar[Sequence[int]] = ()
    stages: ClassVar[Sequence[Stage]] = ()
    due_per_s: ClassVar[None] = None

    def __str__(self) -> str:
        return self.name

    def loop(self, setup: LoopSetup) -> OpenLoop:
        """Return an open loop with this process's share of the due times."""
        return _open_loop(self.times, setup)

    @property
    def rate_hz(self) -> float:
        """Requests per second, on average; 0 where all come at once."""
        gaps, length_ns = len(self.times_ns), sum(self.times_ns)
        if not self.is_repeated:
            gaps, length_ns = gaps - 1, self.times_ns[-1] - self.times_ns[0]
        return gaps * 1e9 / length_ns if length_ns else 0.0

    def times(self) -> Iterator[int]:
        """Yield the send times in ns from the start."""
        if self.is_repeated:
            return schedule.repeated(self.times_ns)
        return iter(self.times_ns)

    def as_json(self) -> dict[str, object]:
        """Return the load as it stands in the JSON result."""
        kind = "intervals" if self.is_repeated else "trace"
        return {"kind": kind, "name": self.name, "rate": self.rate_hz}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicLoad:
    """An increasing number of requests in flight, level by level, in one run.

    Attributes:
        start: requests in flight in the first level.
        end: requests in flight in the last level, whatever the step.
        step: how many more requests each level adds.
        period: a level ends when each slot that it added has received this many
            responses. Every response of a stream counts.
    """

    start: int
    end: int
    step: int = 1
    period: int = 10  # perf_analyzer's
    stages: ClassVar[Sequence[Stage]] = ()
    due_per_s: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 1 <= self.start <= self.end <= _MOST_CONCURRENT or self.step < 1:
            raise SpecError(
                f"periodic concurrency range {self.start}:{self.end}:{self.step}: need "
                f"1 <= START <= END <= {_MOST_CONCURRENT} and STEP of 1 or more"
            )
        if self.period < 1:
            raise SpecError(f"request period {self.period}: need 1 or more")

    def __str__(self) -> str:
        return f"concurrency {self.start} to {self.end}"

    @property
    def levels(self) -> list[int]:
        """The concurrency of each level."""
        return [*range(self.start, self.end, self.step), self.end]

    @property
    def concurrency(self) -> int:
        """The concurrency of the last level."""
        return self.end

    def loop(self, setup: LoopSetup) -> ClosedLoop:
        """Return a closed loop that can be raised to each level."""
        return ClosedLoop(
            setup.reactor,
            setup.transport,
            setup.requests,
            concurrency=self.start,
            sequence_source=setup.sequence_source,
            quota=Quota(setup.reactor, self.period),
            tracker=setup.tracker,
        )

    def as_json(self) -> dict[str, object]:
        """Return the load as it stands in the JSON result."""
        return {
            "kind": "periodic",
            "concurrency": self.end,
            "start": self.start,
            "step": self.step,
            "period": self.period,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedLoad:
    """Requests per second that change over time; the run ends with the last stage.

    Attributes:
        stages: one after another.
        distribution: `constant` gaps, or `poisson` arrivals.
        seed: of the Poisson arrivals.
    """

    stages: tuple[Stage, ...]
    distribution: str = "constant"
    seed: int = 0
    concurrency: ClassVar[None] = None
    levels: ClassVar[Sequence[int]] = ()
    due_per_s: ClassVar[None] = None

    def __post_init__(self) -> None:
        _check_distribution(self.distribution)

    def __str__(self) -> str:
        count = len(self.stages)
        return f"{count} stages" if count > 1 else f"stage {self.stages[0]}"

    def loop(self, setup: LoopSetup) -> OpenLoop:
        """Return an open loop with this process's share of the due times."""
        return _open_loop(self.times, setup)

    def times(self) -> Iterator[int]:
        """Yield the send times in ns from the start."""
        is_poisson = self.distribution == "poisson"
        return due_times(self.stages, seed=self.seed if is_poisson else None)

    def as_json(self) -> dict[str, object]:
        """Return the load as it stands in the JSON result."""
        shown: dict[str, object] = {
            "kind": "stages",
            "stages": [str(stage) for stage in self.stages],
            "distribution": self.distribution,
        }
        return shown | ({"seed": self.seed} if self.distribution == "poisson" else {})


def _check_distribution(name: str) -> None:
    if name not in _DISTRIBUTIONS:
        raise SpecError(
            f"unknown distribution {name!r}", hint=did_you_mean(name, _DISTRIBUTIONS)
        )


def _open_loop(times: Callable[[], Iterator[int]], setup: LoopSetup) -> OpenLoop:
    share = setup.share
    return OpenLoop(
        setup.reactor,
        setup.transport,
        setup.requests,
        lambda: itertools.islice(times(), share.index, None, share.count),
        most_in_flight=setup.max_in_flight,
        spread=setup.spread,
        sequence_source=setup.sequence_source,
        tracker=setup.tracker,
    )


def concurrency_range(text: str) -> tuple[ClosedLoad, ...]:
    """Read `START:END:STEP` as perf_analyzer does: END is included, STEP is 1.

    END 0 goes on as far as loads do, for a search that stops before.

    Raises:
        SpecError: it is not a range, or an empty one.
    """
    numbers = _range("concurrency range", text, most=_MOST_CONCURRENT)
    if any(number != int(number) for number in numbers):
        raise SpecError(f"concurrency range {text!r}: need whole numbers")
    return tuple(ClosedLoad(int(number)) for number in numbers)


def periodic_range(text: str, *, period: int) -> PeriodicLoad:
    """Read `START:END:STEP` in requests in flight; END is included, STEP is 1.

    Raises:
        SpecError: it is not a range, or an impossible one.
    """
    what = "periodic concurrency range"
    start, end, step = _three(what, text)
    if not start == int(start) or not end == int(end) or not step == int(step):
        raise SpecError(f"{what} {text!r}: need whole numbers")
    return PeriodicLoad(start=int(start), end=int(end), step=int(step), period=period)


def rate_range(
    text: str, *, distribution: str = "constant", seed: int = 0
) -> tuple[RateLoad, ...]:
    """Read `START:END:STEP` in requests per second; END is included.

    END 0 goes on as far as loads do, for a search that stops before.

    Raises:
        SpecError: it is not a range, or an empty one.
    """
    return tuple(
        RateLoad(rate_hz=rate, distribution=distribution, seed=seed)
        for rate in _range("request rate range", text, most=_HIGHEST_RATE_HZ)
    )


def is_endless(what: str, text: str) -> bool:
    """Whether END is 0: the range ends with the first load that misses an objective.

    Raises:
        SpecError: it is not a range; `what` names it.
    """
    start, end, _ = _three(what, text)
    return start > 0 == end


def _three(what: str, text: str) -> tuple[float, float, float]:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or not all(map(math.isfinite, numbers)):
        raise SpecError(
            f"{what} {text!r}: not of the form START:END:STEP",
            hint="for example 1:16:5, or just 8",
        )
    start = numbers[0]
    end = numbers[1] if len(numbers) > 1 else start
    step = numbers[2] if len(numbers) > 2 else 1.0
    return start, end, step


def _range(what: str, text: str, *, most: float) -> list[float]:
    start, end, step = _three(what, text)
    if start > 0 and end == 0:
        end = max(start, min(start + (_MOST_LOADS - 1) * step, most))
    if step <= 0 or end < start:
        raise SpecError(f"{what} {text!r} is empty: need END >= START and STEP > 0")
    # END is included, though 0.1 + 2 * 0.1 is a little more than 0.3.
    steps = math.floor((end - start) / step + 1e-9)
    if steps >= _MOST_LOADS:
        raise SpecError(
            f"{what} {text!r}: {steps + 1} loads, {_MOST_LOADS} at most",
            hint="a larger STEP",
        )
    return [min(start + index * step, end) for index in range(steps + 1)]
