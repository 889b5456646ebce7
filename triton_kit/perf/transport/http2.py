"""gRPC over HTTP/2: many calls at once on few connections, one write per wake-up."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from triton_kit.errors import TransportError
from triton_kit.perf.address import Address, connect
from triton_kit.perf.clock import now_ns, ns
from triton_kit.perf.reactor import READ, WRITE, Reactor
from triton_kit.perf.transport.base import Failure, Request, Sink
from triton_kit.perf.transport.http2_connection import Http2Connection, OnEnd
from triton_kit.perf.transport.http2_sender import Stream
from triton_kit.perf.wire.http2_frames import ProtocolBrokenError

_READ_BYTES = 256 * 1024
_RETRY_AFTER_S = 0.05
_HANDSHAKE_WITHIN_S = 5.0
_MOST_LINKS = 256


class Http2Transport:
    """Spreads its slots over as many connections as the server's limit demands."""

    def __init__(
        self, reactor: Reactor, address: Address, *, keep_answers: bool = False
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._keep_answers = keep_answers
        self._streams: list[Stream] = []
        # The link that new calls of a slot take, and the one its call is on.
        self._links: list[_Link] = []
        self._link_of: list[_Link] = []
        self._draining: list[_Link] = []
        self._sink: Sink | None = None

    def __enter__(self) -> Self:
        self._reactor.after_wake(self._flush)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._reactor.not_after_wake(self._flush)
        for link in [*self._links, *self._draining]:
            link.close()

    def open(self, slots: int, sink: Sink, /) -> None:
        """Connect until the server's limits on concurrent calls allow `slots`."""
        self._sink = sink
        for index, link in enumerate(self._links):
            if not link.connection.is_usable:
                link.close()
                self._links[index] = self._connect()
            link.connection.on_end = sink.finished
        while (
            sum(link.connection.most_streams for link in self._links) < slots
            and len(self._links) < _MOST_LINKS
        ):
            link = self._connect()
            self._links.append(link)
            link.shake_hands()
        self._streams = [Stream(slot) for slot in range(slots)]
        self._link_of = [self._links[slot % len(self._links)] for slot in range(slots)]

    def send(self, slot: int, request: Request, /) -> None:
        """Begin a call; its bytes leave with all others of this wake-up."""
        link = self._link_of[slot]
        if not link.connection.is_usable:
            try:
                link = self._link_of[slot] = self._replacement(slot)
            except TransportError as error:
                self._fail_later(slot, Failure("connection refused", error.message))
                return
        link.connection.start(self._streams[slot], request)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Reset the stream."""
        stream = self._streams[slot]
        sent_ns, first_ns = stream.sent_ns or now_ns(), stream.first_ns
        self._link_of[slot].connection.cancel(stream)
        assert self._sink is not None
        self._sink.finished(slot, sent_ns, first_ns, now_ns(), failure, b"")

    def _connect(self) -> _Link:
        assert self._sink is not None
        return _Link(
            self._reactor, self._address, self._sink.finished, self._keep_answers
        )

    def _replacement(self, slot: int) -> _Link:
        index = slot % len(self._links)
        old = self._links[index]
        if not old.connection.is_usable:
            self._links[index] = self._connect()
            self._draining.append(old)
        return self._links[index]

    def _fail_later(self, slot: int, failure: Failure) -> None:
        stream = self._streams[slot]
        stream.number = stream.first_ns = 0
        sent_ns = stream.sent_ns = now_ns()

        def fail() -> None:
            # Unless the request was cancelled meanwhile, and perhaps another began.
            if stream.sent_ns == sent_ns and stream.number == 0:
                assert self._sink is not None
                self._sink.finished(slot, sent_ns, 0, now_ns(), failure, b"")

        self._reactor.call_at(sent_ns + ns(_RETRY_AFTER_S), fail)

    def _flush(self) -> None:
        for link in self._links:
            if link.connection.out:
                link.flush()
        if self._draining:
            self._drain()

    def _drain(self) -> None:
        for link in self._draining:
            link.flush()
            if not link.connection.in_flight:
                link.close()
        self._draining = [link for link in self._draining if link.is_open]


class _Link:
    """A connection and its socket."""

    def __init__(
        self, reactor: Reactor, address: Address, on_end: OnEnd, keep_answers: bool
    ) -> None:
        self.connection = Http2Connection(on_end, keep_answers=keep_answers)
        self.is_open = True
        self._address = address
        self._reactor = reactor
        self._socket: socket.socket = connect(address)
        self._unsent = b""
        reactor.watch(self._socket.fileno(), self._on_ready)

    def shake_hands(self) -> None:
        """Wait for the server's settings; raises TransportError where none come."""
        deadline_ns = now_ns() + ns(_HANDSHAKE_WITHIN_S)
        connection = self.connection
        self.flush()
        self._socket.settimeout(_HANDSHAKE_WITHIN_S)
        try:
            while not connection.is_ready and now_ns() < deadline_ns:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise ProtocolBrokenError("the server hung up")  # noqa: TRY301
                connection.feed(data, now_ns())
        except (OSError, ProtocolBrokenError) as error:
            raise TransportError(
                f"{self._address} does not speak gRPC: {error}",
                hint="is this the HTTP port? Triton's gRPC port is 8001 by default",
            ) from error
        self._socket.setblocking(False)
        self.flush()

    def close(self) -> None:
        """Close the socket; calls on it are forgotten."""
        if self.is_open:
            self.is_open = False
            self._reactor.forget(self._socket.fileno())
            self._socket.close()

    def flush(self) -> None:
        """Write what has gathered, and stamp the calls that it begins."""
        connection = self.connection
        if self._unsent or not self.is_open:
            return
        sent_ns = now_ns()
        for stream in connection.fresh:
            stream.sent_ns = sent_ns
        connection.fresh.clear()
        payload = b"".join(connection.out)
        connection.out.clear()
        self._write(payload)

    def _write(self, payload: bytes) -> None:
        had_rest = bool(self._unsent)
        try:
            written = self._socket.send(payload)
        except BlockingIOError:
            written = 0
        except OSError:
            return  # reading tells how it ended
        self._unsent = payload[written:]
        if bool(self._unsent) != had_rest:
            events = READ | WRITE if self._unsent else READ
            self._reactor.rewatch(self._socket.fileno(), events=events)

    def _on_ready(self, events: int, woke_ns: int) -> None:
        if events & WRITE and self._unsent:
            self._write(self._unsent)
            if not events & ~WRITE:
                return
        try:
            data = self._socket.recv(_READ_BYTES)
            if data:
                self.connection.feed(data, woke_ns)
            else:
                self._lose(Failure("connection closed", "the server hung up"), woke_ns)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(Failure("connection reset", str(error)), woke_ns)
        except ProtocolBrokenError as error:
            self._lose(Failure("malformed answer", str(error)), woke_ns)

    def _lose(self, failure: Failure, at_ns: int) -> None:
        self.close()
        self.connection.fail_all(failure, at_ns)
