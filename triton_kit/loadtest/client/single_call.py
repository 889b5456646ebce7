"""One request on a connection of its own, and how it ended."""

from __future__ import annotations

from collections.abc import Callable

from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.request import Failure, Request


class CallEnd:
    """Takes the end of a single call; times are CLOCK_MONOTONIC nanoseconds."""

    def __init__(self, reactor: Reactor) -> None:
        self.is_done = False
        self.failure: Failure | None = None
        self.response = b""
        self.responses = 0  # messages of a stream
        self.sent_ns = self.last_ns = 0
        self._reactor = reactor

    def responded(self, _slot: int, _before_ns: int, _at_ns: int, /) -> None:
        """Count a message of a stream."""
        self.responses += 1

    def retried(self, _slot: int, /) -> None:
        """Nothing: the call counts nowhere."""

    def finished(
        self,
        _slot: int,
        sent_ns: int,
        _first_ns: int,
        last_ns: int,
        failure: Failure | None,
        response: bytes,
        /,
    ) -> None:
        """Keep the response and stop the reactor."""
        self.is_done, self.failure, self.response = True, failure, response
        self.sent_ns, self.last_ns = sent_ns, last_ns
        self._reactor.stop()


def call_once(
    open_transport: Callable[[Reactor], Transport], request: Request, *, within_s: float
) -> CallEnd:
    """Send a request and wait for its end; `is_done` is False after `within_s`."""
    deadline_ns = now_ns() + ns(within_s)
    with Reactor() as reactor, open_transport(reactor) as transport:
        end = CallEnd(reactor)
        transport.open(1, end)
        transport.send(0, request)
        reactor.call_at(deadline_ns, reactor.stop)
        reactor.run()
    return end
