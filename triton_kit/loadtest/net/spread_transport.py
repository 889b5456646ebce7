"""Several servers behind one transport: each request goes to the one it is for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from triton_kit.loadtest.net.transport import Sink, Transport
from triton_kit.loadtest.request import Failure, Request


class SpreadTransport:
    """Has a transport for each server, every one with all slots."""

    def __init__(self, transports: Sequence[Transport]) -> None:
        self._transports = transports
        self._of_slot: dict[int, Transport] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for transport in self._transports:
            self._stack.enter_context(transport)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def open(self, slots: int, sink: Sink, /) -> None:
        """Connect to every server; raises TransportError if one does not accept."""
        for transport in self._transports:
            transport.open(slots, sink)

    def grow(self, /) -> None:
        """Add one more slot for every server."""
        for transport in self._transports:
            transport.grow()

    def send(self, slot: int, request: Request, /) -> None:
        """Send a request to its server."""
        transport = self._of_slot[slot] = self._transports[request.server]
        transport.send(slot, request)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Give up the request in `slot`."""
        self._of_slot[slot].cancel(slot, failure)
