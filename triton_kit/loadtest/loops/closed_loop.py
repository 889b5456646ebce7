"""A fixed number of requests in flight: each response lets the next request go."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence

from triton_kit.loadtest.loops.observed import ObservedTransport
from triton_kit.loadtest.loops.quota import Quota
from triton_kit.loadtest.loops.sequence_endings import SequenceEndings
from triton_kit.loadtest.loops.sequences import RequestOrder, SequenceSource
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.record.backlog import BacklogSample
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.request import Failure, Request

_SECOND = operator.itemgetter(1)


class ClosedLoop:
    """Keeps `concurrency` requests in flight.

    Every slot takes the next of `requests`, or has an endless sequence of its own from
    `sequence_source`. A request is due the moment the response before it arrives, so
    the client's own delay between the two shows as lag instead of hiding.

    With a `quota` the loop can be raised to more requests in flight; the reactor then
    stops whenever the new slots have received enough responses.
    """

    def __init__(
        self,
        reactor: Reactor,
        transport: Transport,
        requests: Sequence[Request] | Iterator[Request],
        *,
        concurrency: int,
        sequence_source: SequenceSource | None = None,
        quota: Quota | None = None,
        tracker: RequestTracker | None = None,
    ) -> None:
        self.tracker = tracker or RequestTracker()
        self.tracker.hand_back_to(self._freed)
        self.recorder = self.tracker.recorder
        self.in_flight = 0
        self._is_waiting = False
        # A closed loop sends what it receives responses for, so it keeps neither.
        self.sent: int | None = None
        self.backlog: BacklogSample | None = None
        self._reactor = reactor
        self._transport: Transport = transport
        self._turns = RequestOrder(requests, sequence_source)
        self._first = self._concurrency = concurrency
        self._quota = quota
        if quota is not None:
            self._transport = ObservedTransport(transport, [quota])
        self._due_ns = self.tracker.due_ns
        self._next: list[Iterator[Request]] = []
        self._endings = SequenceEndings(
            self._turns, self.tracker, self._transport, self._stop_if_done
        )

    def open(self) -> None:
        """Connect; raises TransportError if no server accepts."""
        self._transport.open(self._concurrency, self.tracker)
        self._turns.restart()

    def begin(self, *, count: int | None = None, at_ns: int | None = None) -> int:
        """Send the first requests; `count` limits how many are sent in all.

        Returns:
            When the load begins: at `at_ns`, or now.
        """
        if at_ns is None:
            return self._begin(count)
        self._is_waiting = True
        self._reactor.call_at(at_ns, lambda: self._begin_later(count))
        return at_ns

    def _begin_later(self, count: int | None) -> None:
        self._is_waiting = False
        self._begin(count)
        self._stop_if_done()  # there may have been nothing to send

    def _begin(self, count: int | None) -> int:
        self._concurrency = self._first
        self._endings.are_wanted = False
        self.open()
        self._due_ns[:] = [0] * self._concurrency
        start_ns = now_ns()
        self._next = self._sources(count)
        for slot in range(self._concurrency):
            self._start(slot)
        return start_ns

    def raise_to(self, concurrency: int) -> None:
        """Keep this many in flight from now on; the quota waits for the new ones."""
        assert self._quota is not None
        new = range(self._concurrency, concurrency)
        self._quota.expect(new or range(concurrency))
        for slot in new:
            self._transport.grow()
            self._due_ns.append(0)
            self._next.append(self._turns.requests_of(slot))
            self._start(slot)
        self._concurrency = concurrency

    def _sources(self, count: int | None) -> list[Iterator[Request]]:
        """Return where each slot takes its requests from, `count` in all."""
        slots = range(self._concurrency)
        if count is None:
            return [self._turns.requests_of(slot) for slot in slots]
        left = iter(range(count))  # one for all slots
        return [
            map(_SECOND, zip(left, self._turns.requests_of(slot), strict=False))
            for slot in slots
        ]

    def _start(self, slot: int) -> None:
        request = next(self._next[slot], None)
        if request is not None:
            self._send(slot, request)

    def _send(self, slot: int, request: Request) -> None:
        self.in_flight += 1
        self._due_ns[slot] = now_ns()
        self._transport.send(slot, request)

    @property
    def ended(self) -> int:
        """Requests that ended since the last snapshot, successful or failed."""
        return self.recorder.finished

    @property
    def counted_ns(self) -> int:
        """Now: nothing that was counted is older."""
        return now_ns()

    @property
    def responses(self) -> int:
        """Responses since the last snapshot: every one of a stream, and failed ones."""
        return self.recorder.responses

    def peek(self) -> Recording:
        """Return what was recorded since the last snapshot."""
        return self.recorder.peek()

    def take_snapshot(self) -> Snapshot:
        """Return what was recorded since the last snapshot, and start anew."""
        return self.tracker.take_snapshot()

    @property
    def is_done(self) -> bool:
        """Whether everything that was to be sent has ended."""
        return not (self.in_flight or self._endings.in_flight or self._is_waiting)

    def _stop_if_done(self) -> None:
        if self.is_done:
            self._reactor.stop()

    def finish(self, _end_ns: int) -> None:
        """Send nothing more; the reactor stops at the last response."""
        self._next = [iter(())] * len(self._next)
        if not self.in_flight:
            self._reactor.stop()

    def end_sequences(self) -> None:
        """End the sequence of each slot that sends nothing more; counts nowhere.

        While every slot goes on, this ends nothing, now or later.
        """
        idle = [slot for slot, due_ns in enumerate(self._due_ns) if not due_ns]
        if idle:
            self._endings.are_wanted = True
            self._endings.send(idle)

    def abandon(self, failure: Failure) -> None:
        """Give up what is still in flight, and send nothing more."""
        self.finish(0)
        self.expire(now_ns(), failure)

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail requests that were due before `before_ns` and have no response."""
        self.tracker.expire(self._transport, before_ns, failure)

    def _freed(self, slot: int, last_ns: int, /) -> None:
        """Send the next request of a slot."""
        request = next(self._next[slot], None)
        if request is not None:
            self._due_ns[slot] = last_ns
            self._transport.send(slot, request)
            return
        self._due_ns[slot] = 0
        self.in_flight -= 1
        if self._endings.are_wanted:
            self._endings.send([slot])
        if not self.in_flight:
            self._reactor.stop()
