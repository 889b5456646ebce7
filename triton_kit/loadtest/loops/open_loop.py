"""Requests at their due times, whether or not earlier ones have responses."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from triton_kit.loadtest.loops.sequence_endings import SequenceEndings
from triton_kit.loadtest.loops.sequences import RequestOrder, SequenceSource
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import NEVER, Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.record.backlog import BacklogSample
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.request import Failure, Request

# Connections that an open loop has ready; more are opened as they are needed.
_FIRST_SLOTS = 32
# The first request of a schedule is due this much later, so that it is not late.
_LEAD_NS = 2_000_000


class OpenLoop:
    """Sends each request at its time.

    `schedule` gives the times in ns from the start, and is asked anew at each start.
    Slots are taken as they are needed. Where `most_in_flight` of them are busy, the
    requests that are due wait; they leave as soon as one is free, and their latency
    counts from the time they were due.

    With a `sequence_source`, each of `most_in_flight` slots has a sequence of its own,
    whose requests must not overtake each other. A due request goes to the slot that has
    been free longest. Without sequences it goes to the slot that was busy last, so that
    few connections do the work, unless they are to be `spread`.
    """

    def __init__(
        self,
        reactor: Reactor,
        transport: Transport,
        requests: Sequence[Request] | Iterator[Request],
        schedule: Callable[[], Iterator[int]],
        *,
        most_in_flight: int,
        spread: bool = False,
        sequence_source: SequenceSource | None = None,
        tracker: RequestTracker | None = None,
    ) -> None:
        self.tracker = tracker or RequestTracker()
        self.tracker.hand_back_to(self._freed)
        self.recorder = self.tracker.recorder
        self.in_flight = 0
        self.sent = 0
        self._reactor = reactor
        self._transport = transport
        self._turns = RequestOrder(requests, sequence_source)
        self._has_sequences = sequence_source is not None
        self._next: list[Iterator[Request]] = []
        self._most_in_flight = most_in_flight
        self._due_ns = self.tracker.due_ns
        self._free: deque[int] = deque()
        in_turn = spread or self._has_sequences
        self._take = self._free.popleft if in_turn else self._free.pop
        self._schedule = schedule
        self._left: Iterator[int] = iter(())
        self._start_ns = 0
        self._next_ns = self._end_ns = NEVER
        self._endings = SequenceEndings(
            self._turns, self.tracker, transport, self._stop_if_done
        )
        reactor.on_alarm(self._pump)

    def open(self) -> None:
        """Connect; raises TransportError if no server accepts."""
        first = self._most_in_flight if self._has_sequences else _FIRST_SLOTS
        slots = max(len(self._due_ns), min(first, self._most_in_flight))
        self._transport.open(slots, self.tracker)
        self._due_ns[:] = [0] * slots
        self._turns.restart()
        self._free.clear()
        self._free.extend(range(slots))
        self._next = [self._turns.requests_of(slot) for slot in range(slots)]

    def begin(self, *, count: int | None = None, at_ns: int | None = None) -> int:
        """Start the schedule anew; `count` limits how many are sent in all.

        Returns:
            When the schedule starts: at `at_ns`, or a little later than now.
        """
        self.open()
        self._endings.are_wanted = False
        self._left = itertools.islice(self._schedule(), count)
        self._start_ns = now_ns() + _LEAD_NS if at_ns is None else at_ns
        self.tracker.start_ns = self._start_ns
        self._end_ns = NEVER
        self.sent = 0
        self._advance()
        self._rearm()
        return self._start_ns

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

    @property
    def backlog(self) -> BacklogSample | None:
        """Requests that are due and have no response, while more will follow.

        The rate so far gives the number of requests that wait for a slot.
        """
        if self._next_ns == NEVER:
            return None
        waited_ns = max(0, now_ns() - self._next_ns)
        so_far_ns = self._next_ns - self._start_ns
        waiting = round(self.sent * waited_ns / so_far_ns) if so_far_ns else 0
        return BacklogSample(
            due=self.sent + waiting, unanswered=self.in_flight + waiting
        )

    def peek(self) -> Recording:
        """Return what was recorded since the last snapshot."""
        return self.recorder.peek()

    def take_snapshot(self) -> Snapshot:
        """Return what was recorded since the last snapshot, and start anew."""
        return self.tracker.take_snapshot()

    @property
    def is_done(self) -> bool:
        """Whether everything that was to be sent has ended."""
        in_flight = self.in_flight or self._endings.in_flight
        return not in_flight and self._next_ns == NEVER

    def _stop_if_done(self) -> None:
        if self.is_done:
            self._reactor.stop()

    def finish(self, end_ns: int) -> None:
        """Send nothing that is due at or after `end_ns`; stop at the last response."""
        self._end_ns = end_ns
        if self._next_ns >= end_ns:
            self._next_ns = NEVER
        self._rearm()

    def end_sequences(self) -> None:
        """End the sequence of each slot that sends nothing more; counts nowhere.

        While requests follow, this ends nothing, now or later.
        """
        if self._next_ns == NEVER:
            self._endings.are_wanted = True
            self._endings.send(self._free)

    def abandon(self, failure: Failure) -> None:
        """Give up what is in flight, and what was due and could not be sent."""
        while self._next_ns <= now_ns():
            self.tracker.fail_unsent(self._next_ns, failure)
            self._advance()
        self.finish(0)
        self.expire(now_ns(), failure)

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail requests that were due before `before_ns` and have no response."""
        self.tracker.expire(self._transport, before_ns, failure)

    def _freed(self, slot: int, last_ns: int, /) -> None:
        """Take a slot back; a request that waits for one leaves now."""
        self._due_ns[slot] = 0
        self._free.append(slot)
        self.in_flight -= 1
        if self._next_ns <= last_ns:
            self._pump(last_ns)
        if self._next_ns != NEVER:
            return
        if self._endings.are_wanted:
            self._endings.send([slot])
        if not self.in_flight:
            self._reactor.stop()

    def _pump(self, at_ns: int) -> None:
        """Send everything that is due at `at_ns`, as far as there are slots."""
        free, take, due_ns = self._free, self._take, self._due_ns
        send, requests = self._transport.send, self._next
        while self._next_ns <= at_ns:
            if not free and not self._grow():
                return  # the end of a request comes back here
            slot = take()
            due_ns[slot] = self._next_ns
            self.in_flight += 1
            self.sent += 1
            send(slot, next(requests[slot]))
            self._advance()
        self._rearm()

    def _grow(self) -> bool:
        if len(self._due_ns) >= self._most_in_flight:
            return False
        slot = len(self._due_ns)
        self._free.append(slot)
        self._next.append(self._turns.requests_of(slot))
        self._due_ns.append(0)
        self._transport.grow()
        return True

    def _advance(self) -> None:
        offset_ns = next(self._left, NEVER)
        due_ns = self._start_ns + offset_ns
        self._next_ns = due_ns if due_ns < self._end_ns else NEVER

    def _rearm(self) -> None:
        self._reactor.set_alarm(self._next_ns)
        self._stop_if_done()
