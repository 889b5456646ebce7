"""A transport without a server: every request succeeds after a set time."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Sink
from triton_kit.loadtest.request import Failure, Request


class MemoryTransport:
    """Responds to every request `service_ns` nanoseconds after it was sent.

    A request whose payload is empty fails, so that the counting of errors can be
    tried without a server too.
    """

    def __init__(self, reactor: Reactor, *, service_ns: int = 0) -> None:
        self._reactor = reactor
        self._service_ns = service_ns
        self._sink: Sink | None = None
        self._sent_ns: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        return None

    def open(self, _slots: int, sink: Sink, /) -> None:
        """Nothing to connect."""
        self._sink = sink

    def grow(self, /) -> None:
        """Nothing to connect."""

    def send(self, slot: int, request: Request, /) -> None:
        """Respond later."""
        sent_ns = self._sent_ns[slot] = now_ns()
        failure = None if request.payload else Failure("empty request")

        def respond() -> None:
            if self._sent_ns.get(slot) == sent_ns:
                self._finish(slot, failure)

        self._reactor.call_at(sent_ns + self._service_ns, respond)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Fail now instead of responding later."""
        self._finish(slot, failure)

    def _finish(self, slot: int, failure: Failure | None) -> None:
        assert self._sink is not None
        done_ns = now_ns()
        sent_ns = self._sent_ns.pop(slot)
        self._sink.finished(slot, sent_ns, done_ns, done_ns, failure, b"")
