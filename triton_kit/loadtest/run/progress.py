"""How far a measurement is, for the code that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.results.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStatus:
    """How far one load is.

    Attributes:
        is_warm_up: whether the load is not measured yet.
        done: from 0 to 1; 0 in the warm-up.
        elapsed_s: since the warm-up or the measurement began.
        counted_s: how much of that `in_flight` and `ended` count.
        in_flight: requests without a response.
        ended: requests that ended so far, successful or not.
        recordings: returns what was recorded so far; with several processes, what they
            have reported.
        server_cores: returns the cores that the server has used since the measurement
            began; None where its process is not known.
        gpu: returns the utilization of the busiest GPU, 0 to 1, as the server last
            reported it; None where it did not.
        workers: how many processes send from other machines, and which are lost.
    """

    is_warm_up: bool
    done: float
    elapsed_s: float
    counted_s: float
    in_flight: int
    ended: int
    recordings: Callable[[], Sequence[Recording]]
    server_cores: Callable[[], float | None] = lambda: None
    gpu: Callable[[], float | None] = lambda: None
    workers: str = ""

    @property
    def left_s(self) -> float | None:
        """About how long it will take, at most; None before that is known."""
        if not self.done:
            return None
        return self.elapsed_s * (1 - self.done) / self.done

    def latency(self) -> Histogram:
        """Return the latencies so far."""
        return Histogram.merged(recording.latency for recording in self.recordings())

    def errors(self) -> int:
        """Return how many requests failed so far."""
        return sum(recording.failed for recording in self.recordings())


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a measurement is.

    Attributes:
        load: the load that is sent now.
        index: how many loads came before it.
        loads: how many there will be; None where a search finds that out.
        runs: the results of the loads before it.
        status: how far this load is.
    """

    load: Load
    index: int
    loads: int | None
    runs: Sequence[Run]
    status: LoadStatus

    @property
    def done(self) -> float:
        """From 0 to 1 within each load."""
        return self.status.done


OnProgress = Callable[[Progress], None]
