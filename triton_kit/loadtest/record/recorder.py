"""Turns the times of every request into histograms, in memory of a fixed size."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from triton_kit.loadtest.record.generations import Generations
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.request import CANCELLED, TIMEOUT, Failure


@dataclass(slots=True)
class ErrorTally:
    """How many requests failed in one way, and the message of the first of them."""

    count: int = 0
    example: str = ""


@dataclass(slots=True)
class Recording:
    """What was measured in one stretch of time. Latencies in nanoseconds.

    Attributes:
        latency: from the time a request was due to the end of its response.
        from_send: from the time its bytes left instead.
        to_first: from the due time to the first bytes of the response.
        lag: from the due time to the time its bytes left.
        between: from one response of a stream to the next.
        responses: all responses of streams; 0 where every request has one response.
        retried: how often a request was sent again because its server had refused it
            unprocessed; it counts once all the same.
        errors: failed requests by kind; they are in no histogram.
        cancelled: requests that the client cancelled on purpose; in no histogram.
        generations: of successful requests to an LLM, their times and tokens.
        times: due, sent, first and last of every successful request, int64 arrays of
            shape (n, 4); only if the recorder keeps them.
        responded_at: of the same requests, in the same order, when each of their
            responses came, int64 arrays of shape (responses,); only of streams.
    """

    latency: Histogram = field(default_factory=Histogram)
    from_send: Histogram = field(default_factory=Histogram)
    to_first: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    between: Histogram = field(default_factory=Histogram)
    responses: int = 0
    retried: int = 0
    errors: dict[str, ErrorTally] = field(default_factory=dict)
    cancelled: int = 0
    generations: Generations = field(default_factory=Generations)
    times: list[NDArray[np.int64]] = field(default_factory=list)
    responded_at: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def succeeded(self) -> int:
        """Requests with a successful response."""
        return self.latency.count

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return sum(tally.count for tally in self.errors.values())

    @property
    def total(self) -> int:
        """Requests that ended: successful, failed or cancelled."""
        return self.succeeded + self.failed + self.cancelled

    def merge(self, other: Recording) -> None:
        """Add another stretch of time, or another process, to this one."""
        self.latency.merge(other.latency)
        self.from_send.merge(other.from_send)
        self.to_first.merge(other.to_first)
        self.lag.merge(other.lag)
        self.between.merge(other.between)
        self.responses += other.responses
        self.retried += other.retried
        self.cancelled += other.cancelled
        self.generations.merge(other.generations)
        self.times += other.times
        self.responded_at += other.responded_at
        for kind, tally in other.errors.items():
            mine = self.errors.setdefault(kind, ErrorTally(example=tally.example))
            mine.count += tally.count


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was recorded in one stretch of time.

    Attributes:
        whole: every request that ended in it.
        parts: the same requests per `model`, `server` or `stage`, where there are
            several.
    """

    whole: Recording = field(default_factory=Recording)
    parts: dict[str, list[Recording]] = field(default_factory=dict)

    def merge(self, other: Snapshot) -> None:
        """Add another stretch of time, or another process, to this one."""
        self.whole.merge(other.whole)
        for kind, others in other.parts.items():
            ours = self.parts.setdefault(kind, [Recording() for _ in others])
            for mine, theirs in zip(ours, others, strict=True):
                mine.merge(theirs)


class Recorder:
    """Collects the four times of every request.

    A list takes four integers faster than anything else that Python has; NumPy
    then counts them into histograms, a batch at a time.

    Attributes:
        times: due, sent, first and last of one request after another. The
            code that appends calls `count` once it holds BATCH integers.
    """

    BATCH = 4 * 2048  # some 0.2 ms of work: no request behind it waits noticeably

    def __init__(self, *, keep_times: bool = False) -> None:
        self.times: list[int] = []
        self._gaps_ns: list[int] = []
        self._keeps_times = keep_times
        self._recording = Recording()

    def response(self, gap_ns: int | None) -> None:
        """Record one response of a stream, and the gap to the one before it."""
        self._recording.responses += 1
        if gap_ns is not None:
            self._gaps_ns.append(gap_ns)

    def keep_response_times(self, came_ns: list[int]) -> None:
        """Keep when each response of a successful stream came."""
        self._recording.responded_at.append(np.array(came_ns, np.int64))

    def generated(self, row: tuple[int, ...], body: bytes | None) -> None:
        """Record the times and tokens of a successful generation."""
        self._recording.generations.add(row, body)

    def retry(self) -> None:
        """Count that a request is sent again."""
        self._recording.retried += 1

    def fail(self, failure: Failure) -> None:
        """Record a request without a successful response."""
        if failure.kind == CANCELLED:
            self._recording.cancelled += 1
            return
        tally = self._recording.errors.setdefault(
            failure.kind, ErrorTally(example=failure.detail)
        )
        tally.count += 1

    @property
    def succeeded(self) -> int:
        """Successful responses since the last recording was taken."""
        return self._recording.succeeded + len(self.times) // 4

    @property
    def finished(self) -> int:
        """Requests that ended since then: successful, failed or cancelled."""
        recording = self._recording
        return self.succeeded + recording.failed + recording.cancelled

    @property
    def responses(self) -> int:
        """Everything the server sent since the last recording was taken.

        Every response of a stream counts; requests that the client gave up do not.
        """
        timeouts = self._recording.errors.get(TIMEOUT)
        late = timeouts.count if timeouts else 0
        ended = self.finished - late - self._recording.cancelled
        return ended + self._recording.responses

    def take(self) -> Recording:
        """Return what was recorded since the last time, and start anew."""
        self.count()
        done, self._recording = self._recording, Recording()
        return done

    def peek(self) -> Recording:
        """Return what was recorded since the last one was taken; it goes on growing."""
        self.count()
        return self._recording

    def count(self) -> None:
        """Count the gathered times into the histograms."""
        times = np.fromiter(self.times, np.int64, len(self.times))
        self.times.clear()
        if self._keeps_times:
            self._recording.times.append(times.reshape(-1, 4))
        due, sent, first, last = times.reshape(-1, 4).T
        self._recording.between.add(np.array(self._gaps_ns, np.int64))
        self._gaps_ns.clear()
        self._recording.latency.add(last - due)
        self._recording.from_send.add(last - sent)
        self._recording.to_first.add(first - due)
        self._recording.lag.add(sent - due)
