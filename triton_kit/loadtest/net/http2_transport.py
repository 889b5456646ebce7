"""gRPC over HTTP/2: many calls at once on few connections, one write per wake-up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from triton_kit.errors import TransportError
from triton_kit.loadtest.http.grpc_response import StreamingResponses, UnaryResponses
from triton_kit.loadtest.http.http2_connection import Http2Connection
from triton_kit.loadtest.http.http2_frames import ProtocolError
from triton_kit.loadtest.http.http2_request_writer import Stream
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.tls_channel import open_channel
from triton_kit.loadtest.net.transport import MOST_CONNECTIONS, Sink
from triton_kit.loadtest.request import Failure, Request
from triton_kit.triton.address import Address, Endpoint, resolve, speaks_tls

_RETRY_AFTER_S = 0.05
_HANDSHAKE_WITHIN_S = 5.0
# A request that left is sent again this often, if its server refuses it and makes no
# progress with others either.
_MAX_FRUITLESS_RETRIES = 3


class Http2Transport:
    """Spreads its slots over `connections`, more where the server's limit demands it.

    A slot keeps its connection, and so its server behind a load balancer, until the
    server ends the connection.

    A call that the server has not processed goes out again on another connection. It
    keeps the time of its first send, so that the detour counts as its latency.

    With `new_connection_every` a connection carries that many calls.

    With `error_in` every call is a stream of messages: the sink is told of each, and
    `error_in` returns the error that a message reports.
    """

    def __init__(
        self,
        reactor: Reactor,
        address: Address,
        *,
        connections: int = 1,
        new_connection_every: int | None = None,
        keep_responses: bool = False,
        error_in: Callable[[bytes], str] | None = None,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._endpoint: Endpoint | None = None
        self._wanted = connections
        self._calls_per_connection = new_connection_every
        self._keep_responses = keep_responses
        self._error_in = error_in
        self._streams: list[Stream] = []
        # The connections that new calls take, and of each slot the one of its call.
        self._connections: list[_Connection] = []
        self._calls_of: list[Http2Connection] = []
        self._draining: list[_Connection] = []
        # Slot -> when its call was first sent, and how often it was refused.
        self._refusals: dict[int, tuple[int, int]] = {}
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
        for connection in [*self._connections, *self._draining]:
            connection.close()

    def open(self, slots: int, sink: Sink, /) -> None:
        """Connect as often as `connections` and the server's limits demand."""
        self._sink = sink
        if self._endpoint is None:
            self._endpoint = resolve(self._address, speaks="h2")
        for connection in self._connections:
            connection.calls.on_end = sink.finished
        # A server that went away between two loads is counted, not raised.
        with suppress(TransportError) if self._connections else nullcontext():
            self._connect_for(slots)
        while len(self._streams) < slots:
            self.grow()
        self._calls_of = [self._home(slot).calls for slot in range(len(self._streams))]

    def _home(self, slot: int) -> _Connection:
        """Return the connection that new calls of a slot take."""
        return self._connections[slot % len(self._connections)]

    def _responded(self, slot: int, before_ns: int, at_ns: int) -> None:
        assert self._sink is not None
        self._sink.responded(slot, before_ns, at_ns)

    def _connect_for(self, slots: int) -> None:
        for index, connection in enumerate(self._connections):
            if not connection.calls.is_usable:
                connection.close()
                self._connections[index] = self._connect()
        while len(self._connections) < MOST_CONNECTIONS and (
            len(self._connections) < self._wanted
            or sum(c.calls.max_concurrent_streams for c in self._connections) < slots
        ):
            self._connections.append(self._connect())

    def grow(self, /) -> None:
        """Add a slot; where the server accepts no more calls at once, it queues."""
        slot = len(self._streams)
        self._streams.append(Stream(slot))
        self._calls_of.append(self._home(slot).calls)

    def send(self, slot: int, request: Request, /) -> None:
        """Begin a call; its bytes leave with all others of this wake-up."""
        calls = self._calls_of[slot]
        if not calls.is_usable:
            calls = self._calls_of[slot] = self._usable_home(slot).calls
        calls.start(self._streams[slot], request)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Reset the stream."""
        stream = self._streams[slot]
        sent_ns, first_ns = stream.sent_ns or now_ns(), stream.first_ns
        calls = self._calls_of[slot]
        calls.cancel(stream)
        if calls.has_waiting:
            # Once all that are to be taken back have been.
            self._reactor.call_at(now_ns(), calls.start_waiting)
        assert self._sink is not None
        self._sink.finished(slot, sent_ns, first_ns, now_ns(), failure, b"")

    def _connect(self, *, is_urgent: bool = False) -> _Connection:
        assert self._sink is not None
        assert self._endpoint is not None
        keep = self._keep_responses
        responses = UnaryResponses(keep=keep)
        if self._error_in is not None:
            responses = StreamingResponses(self._responded, self._error_in, keep=keep)
        calls = Http2Connection(self._sink.finished, responses)
        if self._calls_per_connection is not None:
            calls.last_stream_id = 2 * self._calls_per_connection - 1
        calls.on_refused = lambda streams, failure, at_ns: self._retry(
            calls, streams, failure, at_ns
        )
        connection = _Connection(self._reactor, self._endpoint, calls)
        if is_urgent:
            connection.begin_connect()
        else:
            connection.connect()
        return connection

    def _usable_home(self, slot: int) -> _Connection:
        index = slot % len(self._connections)
        old = self._connections[index]
        if not old.calls.is_usable:
            self._connections[index] = self._connect(is_urgent=True)
            self._draining.append(old)
        return self._connections[index]

    def _retry(
        self, refuser: Http2Connection, streams: list[Stream], why: Failure, at_ns: int
    ) -> None:
        """Send calls again that were not processed (RFC 9113, 6.8 and 8.7)."""
        assert self._sink is not None
        for stream in streams:
            slot, request, sent_ns = stream.slot, stream.request, stream.sent_ns
            assert request is not None
            stream.clear()
            first_sent_ns, refusals = self._refusals.get(slot, (0, 0))
            refusals = refusals if first_sent_ns == sent_ns else 0
            if sent_ns and not refuser.has_progressed:
                refusals += 1
            if refusals > _MAX_FRUITLESS_RETRIES:
                del self._refusals[slot]
                self._sink.finished(slot, sent_ns, 0, at_ns, why, b"")
                continue
            if sent_ns:
                self._refusals[slot] = sent_ns, refusals
            calls = self._calls_of[slot] = self._usable_home(slot).calls
            calls.start(stream, request)
            if sent_ns and stream.stream_id > 0:
                calls.fresh.remove(stream)  # it would be stamped as sent only now
            stream.sent_ns = sent_ns
            self._sink.retried(slot)

    def _flush(self) -> None:
        for connection in self._connections:
            if connection.calls.out:
                connection.flush()
        if self._draining:
            self._drain()

    def _drain(self) -> None:
        for connection in self._draining:
            connection.flush()
            if not connection.calls.in_flight:
                connection.close()
        self._draining = [c for c in self._draining if c.is_open]


class _Connection:
    """The calls of a connection, and the channel under them."""

    def __init__(
        self, reactor: Reactor, endpoint: Endpoint, calls: Http2Connection
    ) -> None:
        self.calls = calls
        self._reactor = reactor
        self._endpoint = endpoint
        self._channel = open_channel(reactor, endpoint, self._on_data, self._on_lost)
        self._loss: Failure | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything may still come."""
        return self._channel.is_open

    def begin_connect(self) -> None:
        """Connect without waiting for the server."""
        self._channel.begin_connect()

    def connect(self) -> None:
        """Connect and wait for the server's settings.

        Raises:
            TransportError: no server accepts the connection, or it is not a gRPC one.
        """
        deadline_ns = now_ns() + ns(_HANDSHAKE_WITHIN_S)
        self._channel.connect()
        self.flush()
        while not (self.calls.is_ready or self._loss):
            left_ns = deadline_ns - now_ns()
            if left_ns <= 0:
                break
            self._channel.wait(left_ns / ns(1))
        if not self.calls.is_ready:
            self.close()
            reason = self._loss.detail if self._loss else "no SETTINGS came"
            hint = "is this the HTTP port? Triton's gRPC port is 8001 by default"
            if not self._endpoint.tls and speaks_tls(self._endpoint):
                reason, hint = "it speaks TLS first", "use grpcs:// in the URL"
            raise TransportError(
                f"{self._endpoint} does not speak gRPC: {reason}", hint=hint
            )

    def close(self) -> None:
        """Close the channel; calls on it are forgotten."""
        self._channel.close()

    def flush(self) -> None:
        """Write what has gathered, and stamp the calls that it begins."""
        calls, channel = self.calls, self._channel
        if channel.is_write_blocked or not channel.is_open:
            return
        sent_ns = now_ns()
        for stream in calls.fresh:
            stream.sent_ns = sent_ns
        calls.fresh.clear()
        payload = b"".join(calls.out)
        calls.out.clear()
        channel.write(payload)

    def _on_data(self, data: bytes, woke_ns: int) -> None:
        try:
            self.calls.feed(data, woke_ns)
        except ProtocolError as error:
            self._channel.close()
            self._on_lost(Failure("malformed response", str(error)), woke_ns)

    def _on_lost(self, failure: Failure, woke_ns: int) -> None:
        self._loss = failure
        self.calls.is_usable = False
        if failure.kind != "connection refused":
            self.calls.lose(failure, woke_ns)
            return
        # A server that is away is asked again a little later, not in a spin.
        self._reactor.call_at(
            now_ns() + ns(_RETRY_AFTER_S),
            lambda: self.calls.lose(failure, now_ns()),
        )
