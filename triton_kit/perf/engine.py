"""Sends requests and records how they end; one callback per request, no tasks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from triton_kit.perf.clock import now_ns
from triton_kit.perf.reactor import Reactor
from triton_kit.perf.recorder import Recorder
from triton_kit.perf.transport.base import Failure, Request, Transport


class ClosedLoop:
    """Keeps a set number of requests in flight: an answer lets the next request go.

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
    ) -> None:
        self.recorder = Recorder()
        self._times = self.recorder.times
        self.in_flight = 0
        self._reactor = reactor
        self._transport = transport
        self._requests = requests
        self._concurrency = concurrency
        self._due_ns = [0] * concurrency
        self._next: Iterator[Request] = iter(())

    def begin(self, *, count: int | None = None) -> None:
        """Send the first requests; `count` limits how many are sent in all."""
        self._transport.open(self._concurrency, self)
        self._next = itertools.cycle(self._requests)
        if count is not None:
            self._next = itertools.islice(self._next, count)
        for slot in range(self._concurrency):
            request = next(self._next, None)
            if request is None:
                break
            self.in_flight += 1
            self._due_ns[slot] = now_ns()
            self._transport.send(slot, request)

    def cease(self) -> None:
        """Send nothing more; the reactor stops when the last answer is there."""
        self._next = iter(())
        if not self.in_flight:
            self._reactor.stop()

    def abandon(self, failure: Failure) -> None:
        """Give up what is still in flight, and send nothing more."""
        self._next = iter(())
        self.expire(now_ns(), failure)

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail the requests that were due before `before_ns` and have no answer yet."""
        for slot, due_ns in enumerate(self._due_ns):
            if 0 < due_ns < before_ns:
                self._transport.cancel(slot, failure)

    def finished(
        self,
        slot: int,
        sent_ns: int,
        first_ns: int,
        last_ns: int,
        failure: Failure | None,
        _answer: bytes,
        /,
    ) -> None:
        """Record the end of a request and send the next one in its slot."""
        if failure is None:
            times = self._times
            times += (self._due_ns[slot], sent_ns, first_ns, last_ns)
            if len(times) >= Recorder.BATCH:
                self.recorder.count()
        else:
            self.recorder.fail(failure)
        request = next(self._next, None)
        if request is not None:
            self._due_ns[slot] = last_ns
            self._transport.send(slot, request)
            return
        self._due_ns[slot] = 0
        self.in_flight -= 1
        if not self.in_flight:
            self._reactor.stop()
