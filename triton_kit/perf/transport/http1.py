"""HTTP/1.1: one connection per slot, one request at a time on each."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from triton_kit.errors import TransportError
from triton_kit.perf.address import Address, connect
from triton_kit.perf.clock import now_ns, ns
from triton_kit.perf.reactor import READ, WRITE, Reactor
from triton_kit.perf.transport.base import Failure, Request, Sink
from triton_kit.perf.wire.http_answer import (
    HTTP_OK,
    AnswerReader,
    HeadReader,
    MalformedAnswerError,
)

_READ_BYTES = 256 * 1024
# A server that is away is asked again this much later, not in a spin.
_RETRY_AFTER_S = 0.05


class Http1Transport:
    """Keeps a connection per slot, and opens it anew when the server closes it."""

    def __init__(
        self, reactor: Reactor, address: Address, *, keep_answers: bool = False
    ) -> None:
        self._reactor = reactor
        self._keep_answers = keep_answers
        self._address = address
        self._heads = HeadReader()
        self._lanes: list[_Lane] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        for lane in self._lanes:
            lane.close()
        self._lanes.clear()

    def open(self, slots: int, sink: Sink, /) -> None:
        """Connect what is missing up to `slots` connections."""
        while len(self._lanes) > slots:
            self._lanes.pop().close()
        for lane in self._lanes:
            lane.finished = sink.finished
        while len(self._lanes) < slots:
            answer = AnswerReader(self._heads, keep_body=self._keep_answers)
            lane = _Lane(len(self._lanes), self._reactor, self._address, answer, sink)
            lane.connect()
            self._lanes.append(lane)

    def send(self, slot: int, request: Request, /) -> None:
        """Write the request to its connection."""
        self._lanes[slot].send(request.payload)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Close the connection: HTTP/1.1 has no other way to take a request back."""
        self._lanes[slot].fail(failure, now_ns())


class _Lane:
    """One connection and the request on it."""

    __slots__ = (
        "_address",
        "_answer",
        "_first_ns",
        "_head",
        "_is_busy",
        "_reactor",
        "_sent_ns",
        "_slot",
        "_socket",
        "_unsent",
        "finished",
    )

    finished: Callable[[int, int, int, int, Failure | None, bytes], None]

    def __init__(
        self,
        slot: int,
        reactor: Reactor,
        address: Address,
        answer: AnswerReader,
        sink: Sink,
    ) -> None:
        self.finished = sink.finished
        self._slot = slot
        self._reactor = reactor
        self._address = address
        self._socket: socket.socket | None = None
        self._unsent: memoryview | None = None
        self._is_busy = False
        self._sent_ns = 0
        self._first_ns = 0
        self._answer = answer

    def connect(self) -> None:
        """Open the connection; raises TransportError."""
        self._socket = connect(self._address)
        self._reactor.watch(self._socket.fileno(), self._on_ready)

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._reactor.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._unsent = None

    def send(self, payload: bytes) -> None:
        """Write a request; what the kernel does not take now is written when it can."""
        self._is_busy = True
        self._sent_ns = now_ns()
        if self._socket is None:
            try:
                self.connect()
            except TransportError as error:
                self._fail_later(Failure("connection refused", error.message))
                return
        self._write(memoryview(payload))

    def _write(self, payload: memoryview) -> None:
        assert self._socket is not None
        try:
            written = self._socket.send(payload)
        except BlockingIOError:
            written = 0
        except OSError:
            # The server closed while nobody listened; reading tells how it ended.
            return
        if written == len(payload):
            if self._unsent is not None:
                self._unsent = None
                self._reactor.rewatch(self._socket.fileno(), events=READ)
            return
        if self._unsent is None:
            self._reactor.rewatch(self._socket.fileno(), events=READ | WRITE)
        self._unsent = payload[written:]

    def _on_ready(self, events: int, woke_ns: int) -> None:
        if events & WRITE and self._unsent is not None:
            self._write(self._unsent)
            if not events & ~WRITE:
                return
        assert self._socket is not None
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(Failure("connection reset", str(error)), woke_ns)
            return
        if data:
            self._take(data, woke_ns)
        else:
            self._on_closed(woke_ns)

    def _take(self, data: bytes, woke_ns: int) -> None:
        if not self._first_ns:
            self._first_ns = woke_ns
        try:
            is_complete = self._answer.feed(data)
        except MalformedAnswerError as error:
            self.fail(Failure("malformed answer", str(error)), woke_ns)
            return
        if not self._is_busy:
            self.fail(Failure("malformed answer", "nobody asked"), woke_ns)
        elif is_complete:
            self._finish(woke_ns)

    def _on_closed(self, woke_ns: int) -> None:
        if self._is_busy and self._answer.ends_by_close():
            self._finish(woke_ns)
        else:
            self.fail(Failure("connection closed", "the server hung up"), woke_ns)

    def _finish(self, woke_ns: int) -> None:
        """Tell the sink of a complete answer, good or bad."""
        answer, failure = self._answer, None
        if answer.status != HTTP_OK:
            text = answer.detail.decode(errors="replace")
            failure = Failure(f"HTTP {answer.status}", text)
        if not answer.keep_alive or self._unsent is not None:
            self.close()  # an answer to half a request leaves the other half behind
        body = answer.body()
        answer.restart()
        first_ns, self._first_ns, self._is_busy = self._first_ns, 0, False
        self.finished(self._slot, self._sent_ns, first_ns, woke_ns, failure, body)

    def fail(self, failure: Failure, at_ns: int) -> None:
        """Close the connection; a request on it has failed."""
        self.close()
        self._answer.restart()
        was_busy, first_ns = self._is_busy, self._first_ns
        self._first_ns, self._is_busy = 0, False
        if was_busy:
            self.finished(self._slot, self._sent_ns, first_ns, at_ns, failure, b"")

    def _fail_later(self, failure: Failure) -> None:
        sent_ns = self._sent_ns

        def fail() -> None:
            # Unless the request was cancelled meanwhile, and perhaps another began.
            if self._is_busy and self._sent_ns == sent_ns:
                self.fail(failure, now_ns())

        self._reactor.call_at(sent_ns + ns(_RETRY_AFTER_S), fail)
