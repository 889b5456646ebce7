"""What a loop asks of a transport, and what the transport tells it in return."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from triton_kit.loadtest.request import Failure, Request

# Of one load over gRPC, however few calls the server accepts on each.
MOST_CONNECTIONS = 256


class Sink(Protocol):
    """Learns how each request ended. All times are CLOCK_MONOTONIC nanoseconds."""

    def responded(self, slot: int, before_ns: int, at_ns: int, /) -> None:
        """Take one response of a stream; `before_ns` is the previous one's, or 0."""

    def retried(self, slot: int, /) -> None:
        """Note that the request in `slot` was not processed and goes out again."""

    def finished(
        self,
        slot: int,
        sent_ns: int,
        first_ns: int,
        last_ns: int,
        failure: Failure | None,
        body: bytes,
        /,
    ) -> None:
        """Take the end of the request in `slot`; the slot is free again.

        Args:
            slot: which of the concurrent requests this was.
            sent_ns: when its first bytes were handed to the kernel.
            first_ns: when the first bytes of the response were there; 0 if none came.
            last_ns: when the last bytes were there, or the failure was known.
            failure: None for a successful response.
            body: of the response, from a transport that keeps them.
        """


class Transport(Protocol):
    """Sends requests in numbered slots, each holding one request at a time.

    A transport never raises for what happens to a request: it tells the sink, and
    replaces lost connections by itself. `finished` is always called from the
    reactor, never from inside `send`, so that the sink may send from it.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def open(self, slots: int, sink: Sink, /) -> None:
        """Make slots 0 to `slots` - 1 ready; connections that exist are kept.

        Raises:
            TransportError: the server does not accept a connection.
        """

    def grow(self, /) -> None:
        """Add one more slot while the load runs, without waiting for anything."""

    def send(self, slot: int, request: Request, /) -> None:
        """Send a request in a free slot."""

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Give up the request in `slot`: `finished` gets `failure`, at once."""
