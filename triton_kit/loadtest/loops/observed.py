"""A transport that reports each request to observers, for loads that need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from triton_kit.loadtest.loops.stages import Stage, stage_finder
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.transport import Sink, Transport
from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.request import Failure, Request

# Returns what is wrong with the response to a request, or None.
ResponseCheck = Callable[[Request, bytes], Failure | None]

# Returns which part a request belongs to that leaves in a slot.
PartOf = Callable[[int, Request], int]


class Observer(Protocol):
    """Sees every request go and come back."""

    def sent(self, slot: int, request: Request, /) -> None:
        """Take note of a request that leaves now."""

    def responded(self, slot: int, at_ns: int, /) -> None:
        """Take note of one response of many, and when it came."""

    def ended(
        self,
        slot: int,
        stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        response: bytes,
        /,
    ) -> Failure | None:
        """Take note of an end: sent, first and last; return how it is to count."""


class ResponseChecks:
    """Compares successful responses with expected ones."""

    def __init__(self, check: ResponseCheck) -> None:
        self._check = check
        self._asked: dict[int, Request] = {}

    def sent(self, slot: int, request: Request, /) -> None:
        """Remember the request of a slot."""
        self._asked[slot] = request

    def responded(self, _slot: int, _at_ns: int, /) -> None:
        """Streams are not checked."""

    def ended(
        self,
        slot: int,
        _stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        response: bytes,
        /,
    ) -> Failure | None:
        """Return what is wrong with the response."""
        return failure or self._check(self._asked[slot], response)


class PartRecorders:
    """Keeps the figures of each kind of request apart, in the tracker's parts.

    Args:
        tracker: of the loop.
        kind: what distinguishes them: `model`, `server` or `stage`.
        parts: how many there are.
        part_of: returns the part of a request that leaves in a slot now.
    """

    def __init__(
        self, tracker: RequestTracker, kind: str, parts: int, part_of: PartOf
    ) -> None:
        self._part_of = part_of
        self._due_ns = tracker.due_ns
        self._uncounted = tracker.uncounted
        self._parts = tracker.parts[kind] = [Recorder() for _ in range(parts)]
        self._recorders: dict[int, Recorder] = {}  # by slot

    def sent(self, slot: int, request: Request, /) -> None:
        """Remember the recorder of a slot's request."""
        self._recorders[slot] = self._parts[self._part_of(slot, request)]

    def responded(self, _slot: int, _at_ns: int, /) -> None:
        """Streams are timed as a whole."""

    def ended(
        self,
        slot: int,
        stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        _response: bytes,
        /,
    ) -> Failure | None:
        """Record the end a second time, where it belongs."""
        if slot not in self._uncounted:
            record(self._recorders[slot], self._due_ns[slot], stamps_ns, failure)
        return failure


def stage_at(tracker: RequestTracker, stages: Sequence[Stage]) -> Callable[[int], int]:
    """Return the function that tells the stage of a request that is due at a time."""
    find = stage_finder(stages)
    return lambda due_ns: find(due_ns - tracker.start_ns)


class ConnectionRenewal:
    """Has a slot's connection replaced after a number of requests.

    Args:
        renew: closes the connection of a slot; the next request opens a new one.
        every: requests that a connection carries.
    """

    def __init__(self, renew: Callable[[int], None], every: int) -> None:
        self._renew = renew
        self._every = every
        self._carried: dict[int, int] = {}

    def sent(self, slot: int, _request: Request, /) -> None:
        """Count a request of a slot, on a new connection where it is time."""
        carried = self._carried.get(slot, 0)
        if carried == self._every:
            self._renew(slot)
            carried = 0
        self._carried[slot] = carried + 1

    def responded(self, _slot: int, _at_ns: int, /) -> None:
        """Requests count, however many responses each has."""

    def ended(
        self,
        _slot: int,
        _stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        _response: bytes,
        /,
    ) -> Failure | None:
        """Change nothing."""
        return failure


class ResponseTimes:
    """Keeps the arrival times of the responses of each successful stream.

    It must be the last of several observers: any of them may fail a stream.
    """

    def __init__(self, tracker: RequestTracker) -> None:
        self._recorder = tracker.recorder
        self._uncounted = tracker.uncounted
        self._came_ns: dict[int, list[int]] = {}  # by slot

    def sent(self, slot: int, _request: Request, /) -> None:
        """Forget the times of the slot's previous request."""
        self._came_ns[slot] = []

    def responded(self, slot: int, at_ns: int, /) -> None:
        """Note one response of a stream."""
        self._came_ns[slot].append(at_ns)

    def ended(
        self,
        slot: int,
        _stamps_ns: tuple[int, int, int],
        failure: Failure | None,
        _response: bytes,
        /,
    ) -> Failure | None:
        """Keep the times of a successful stream."""
        if failure is None and slot not in self._uncounted:
            self._recorder.keep_response_times(self._came_ns[slot])
        return failure


def record(
    recorder: Recorder,
    due_ns: int,
    stamps_ns: tuple[int, int, int],
    failure: Failure | None,
) -> None:
    """Record the end of a request."""
    if failure is not None:
        recorder.fail(failure)
        return
    recorder.times += (due_ns, *stamps_ns)
    if len(recorder.times) >= Recorder.BATCH:
        recorder.count()


class ObservedTransport:
    """Stands between a loop and its transport; `observers` see every request."""

    def __init__(self, transport: Transport, observers: Sequence[Observer]) -> None:
        self._transport = transport
        self._observers = observers
        self._sink: Sink

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._transport.__exit__(kind, error, trace)

    def open(self, slots: int, sink: Sink, /) -> None:
        """Open the transport underneath, and listen to it."""
        self._sink = sink
        self._transport.open(slots, self)

    def grow(self, /) -> None:
        """Add one more slot."""
        self._transport.grow()

    def send(self, slot: int, request: Request, /) -> None:
        """Send a request."""
        for observer in self._observers:
            observer.sent(slot, request)
        self._transport.send(slot, request)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Give up the request in `slot`."""
        self._transport.cancel(slot, failure)

    def responded(self, slot: int, before_ns: int, at_ns: int, /) -> None:
        """Pass one response of many on."""
        for observer in self._observers:
            observer.responded(slot, at_ns)
        self._sink.responded(slot, before_ns, at_ns)

    def retried(self, slot: int, /) -> None:
        """Pass on that a request goes out again."""
        self._sink.retried(slot)

    def finished(
        self,
        slot: int,
        sent_ns: int,
        first_ns: int,
        last_ns: int,
        failure: Failure | None,
        response: bytes,
        /,
    ) -> None:
        """Pass the end of a request on."""
        stamps_ns = (sent_ns, first_ns, last_ns)
        for observer in self._observers:
            failure = observer.ended(slot, stamps_ns, failure, response)
        self._sink.finished(slot, sent_ns, first_ns, last_ns, failure, response)
