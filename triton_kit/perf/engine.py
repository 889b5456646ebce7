"""Sends requests and records how they end; one callback per request, no tasks."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence

from triton_kit.perf.clock import now_ns
from triton_kit.perf.reactor import NEVER, Reactor
from triton_kit.perf.recorder import Recorder
from triton_kit.perf.transport.base import Failure, Request, Transport

# Says what is wrong with an answer to a request, or None.
Check = Callable[[Request, bytes], Failure | None]

# Gives the requests of one slot.
Source = Callable[[int], Iterator[Request]]
_SECOND = operator.itemgetter(1)

# Connections that an open loop has ready; more are opened as they are needed.
_FIRST_SLOTS = 32
# The first request of a schedule is due this much later, so that it is not late.
_LEAD_NS = 2_000_000


class ClosedLoop:
    """Keeps a set number of requests in flight: an answer lets the next request go.

    Every slot takes the next of `requests`, or has an endless `source` of its own.
    A request is due the moment the answer before it is there, so the client's own
    delay between the two shows as lag instead of hiding.
    """

    def __init__(
        self,
        reactor: Reactor,
        transport: Transport,
        requests: Sequence[Request],
        *,
        concurrency: int,
        source: Source | None = None,
        check: Check | None = None,
        keep_times: bool = False,
    ) -> None:
        self.recorder = Recorder(keep_times=keep_times)
        self._check = check
        self._asked: dict[int, Request] = {}  # what a slot sent, where it is checked
        self._times = self.recorder.times
        self.in_flight = 0
        self._reactor = reactor
        self._transport = transport
        turns = itertools.cycle(requests)
        self._source = source or (lambda _slot: turns)
        self._concurrency = concurrency
        self._due_ns = [0] * concurrency
        self._next: list[Iterator[Request]] = []

    def begin(self, *, count: int | None = None) -> int:
        """Send the first requests; `count` limits how many are sent in all.

        Returns:
            When the load began.
        """
        self._transport.open(self._concurrency, self)
        start_ns = now_ns()
        self._next = self._sources(count)
        for slot in range(self._concurrency):
            request = next(self._next[slot], None)
            if request is None:
                continue
            self.in_flight += 1
            self._due_ns[slot] = now_ns()
            self._asked[slot] = request
            self._transport.send(slot, request)
        return start_ns

    def _sources(self, count: int | None) -> list[Iterator[Request]]:
        """Return where each slot takes its requests from, `count` in all."""
        slots = range(self._concurrency)
        if count is None:
            return [self._source(slot) for slot in slots]
        left = iter(range(count))  # one for all: whoever is ready takes the next
        return [
            map(_SECOND, zip(left, self._source(slot), strict=False)) for slot in slots
        ]

    @property
    def is_done(self) -> bool:
        """Whether everything that was to be sent has ended."""
        return not self.in_flight

    def finish(self, _end_ns: int) -> None:
        """Send nothing more; the reactor stops when the last answer is there."""
        self._next = [iter(())] * self._concurrency
        if not self.in_flight:
            self._reactor.stop()

    def abandon(self, failure: Failure) -> None:
        """Give up what is still in flight, and send nothing more."""
        self._next = [iter(())] * self._concurrency
        self.expire(now_ns(), failure)

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail the requests that were due before `before_ns` and have no answer yet."""
        for slot, due_ns in enumerate(self._due_ns):
            if 0 < due_ns < before_ns:
                self._transport.cancel(slot, failure)

    def replied(self, _slot: int, before_ns: int, at_ns: int, /) -> None:
        """Record one response of many: when it came, and when the one before did."""
        self.recorder.reply(at_ns - before_ns if before_ns else None)

    def finished(
        self,
        slot: int,
        sent_ns: int,
        first_ns: int,
        last_ns: int,
        failure: Failure | None,
        answer: bytes,
        /,
    ) -> None:
        """Record the end of a request and send the next one in its slot."""
        if self._check is not None and failure is None:
            failure = self._check(self._asked[slot], answer)
        if failure is None:
            times = self._times
            times += (self._due_ns[slot], sent_ns, first_ns, last_ns)
            if len(times) >= Recorder.BATCH:
                self.recorder.count()
        else:
            self.recorder.fail(failure)
        request = next(self._next[slot], None)
        if request is not None:
            self._due_ns[slot] = last_ns
            if self._check is not None:
                self._asked[slot] = request
            self._transport.send(slot, request)
            return
        self._due_ns[slot] = 0
        self.in_flight -= 1
        if not self.in_flight:
            self._reactor.stop()


class OpenLoop:
    """Sends each request at its time, whether or not the ones before are answered.

    `schedule` gives the times in ns from the start, and is asked anew at each start.
    Slots are taken as they are needed. Where `most_in_flight` of them are busy, the
    requests that are due wait; they leave as soon as one is free, and their latency
    counts from the time they were due.
    """

    def __init__(
        self,
        reactor: Reactor,
        transport: Transport,
        requests: Sequence[Request],
        schedule: Callable[[], Iterator[int]],
        *,
        most_in_flight: int,
        check: Check | None = None,
        keep_times: bool = False,
    ) -> None:
        self.recorder = Recorder(keep_times=keep_times)
        self._check = check
        self._asked: dict[int, Request] = {}  # what a slot sent, where it is checked
        self.in_flight = 0
        self._times = self.recorder.times
        self._reactor = reactor
        self._transport = transport
        self.sent = 0
        self._requests = itertools.cycle(requests)
        self._most_in_flight = most_in_flight
        self._due_ns: list[int] = []
        self._free: list[int] = []
        self._schedule = schedule
        self._left: Iterator[int] = iter(())
        self._start_ns = 0
        self._next_ns = self._end_ns = NEVER
        reactor.on_alarm(self._pump)

    def begin(self, *, count: int | None = None) -> int:
        """Start the schedule anew; `count` limits how many are sent in all.

        Returns:
            When the schedule starts, a little later than now.
        """
        slots = max(len(self._due_ns), min(_FIRST_SLOTS, self._most_in_flight))
        self._transport.open(slots, self)
        self._due_ns = [0] * slots
        self._free = list(range(slots))
        self._left = itertools.islice(self._schedule(), count)
        self._start_ns = now_ns() + _LEAD_NS
        self._end_ns = NEVER
        self.sent = 0
        self._advance()
        self._rearm()
        return self._start_ns

    @property
    def is_done(self) -> bool:
        """Whether everything that was to be sent has ended."""
        return not self.in_flight and self._next_ns == NEVER

    def finish(self, end_ns: int) -> None:
        """Send what is due before `end_ns` and no more; stop after the last answer."""
        self._end_ns = end_ns
        if self._next_ns >= end_ns:
            self._next_ns = NEVER
        self._rearm()

    def abandon(self, failure: Failure) -> None:
        """Give up what is in flight, and what was due and could not be sent."""
        while self._next_ns <= now_ns():
            self.recorder.fail(failure)
            self._advance()
        self.finish(0)
        self.expire(now_ns(), failure)

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail the requests that were due before `before_ns` and have no answer yet."""
        for slot, due_ns in enumerate(self._due_ns):
            if 0 < due_ns < before_ns:
                self._transport.cancel(slot, failure)

    def replied(self, _slot: int, before_ns: int, at_ns: int, /) -> None:
        """Record one response of many: when it came, and when the one before did."""
        self.recorder.reply(at_ns - before_ns if before_ns else None)

    def finished(
        self,
        slot: int,
        sent_ns: int,
        first_ns: int,
        last_ns: int,
        failure: Failure | None,
        answer: bytes,
        /,
    ) -> None:
        """Record the end of a request; one that waits for a slot leaves now."""
        if self._check is not None and failure is None:
            failure = self._check(self._asked[slot], answer)
        if failure is None:
            times = self._times
            times += (self._due_ns[slot], sent_ns, first_ns, last_ns)
            if len(times) >= Recorder.BATCH:
                self.recorder.count()
        else:
            self.recorder.fail(failure)
        self._due_ns[slot] = 0
        self._free.append(slot)
        self.in_flight -= 1
        if self._next_ns <= last_ns:
            self._pump(last_ns)
        self._stop_if_done()

    def _pump(self, at_ns: int) -> None:
        """Send everything that is due at `at_ns`, as far as there are slots."""
        free, due_ns, send = self._free, self._due_ns, self._transport.send
        while self._next_ns <= at_ns:
            if not free and not self._grow():
                return  # the end of a request comes back here
            slot = free.pop()
            due_ns[slot] = self._next_ns
            self.in_flight += 1
            self.sent += 1
            request = next(self._requests)
            if self._check is not None:
                self._asked[slot] = request
            send(slot, request)
            self._advance()
        self._rearm()

    def _grow(self) -> bool:
        if len(self._due_ns) >= self._most_in_flight:
            return False
        self._free.append(len(self._due_ns))
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

    def _stop_if_done(self) -> None:
        if self.is_done:
            self._reactor.stop()
