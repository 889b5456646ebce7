"""gRPC over HTTP/2: many calls at once on few connections, one write per wake-up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from triton_kit.errors import TransportError
from triton_kit.loadtest.http.grpc_response import Answers, Replies
from triton_kit.loadtest.http.http2_connection import Http2Connection
from triton_kit.loadtest.http.http2_frames import ProtocolBrokenError
from triton_kit.loadtest.http.http2_writer import Stream
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.tls_channel import open_channel
from triton_kit.loadtest.net.transport import MOST_CONNECTIONS, Sink
from triton_kit.loadtest.request import Failure, Request
from triton_kit.triton.address import Address, Endpoint, resolve

_RETRY_AFTER_S = 0.05
_HANDSHAKE_WITHIN_S = 5.0


class Http2Transport:
    """Spreads its slots over `connections`, more where the server's limit demands it.

    A slot keeps its connection, and so its server behind a load balancer.

    With `error_in` every call is a stream of messages: the sink is told of each, and
    `error_in` says which of them are errors.
    """

    def __init__(
        self,
        reactor: Reactor,
        address: Address,
        *,
        connections: int = 1,
        keep_answers: bool = False,
        error_in: Callable[[bytes], str] | None = None,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._endpoint: Endpoint | None = None
        self._wanted = connections
        self._keep_answers = keep_answers
        self._error_in = error_in
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
        """Connect as often as is wanted, and the server's limits demand for `slots`."""
        self._sink = sink
        if self._endpoint is None:
            self._endpoint = resolve(self._address, speaks="h2")
        for link in self._links:
            link.connection.on_end = sink.finished
        # A server that went away between two loads is counted, not raised.
        with suppress(TransportError) if self._links else nullcontext():
            self._connect_for(slots)
        while len(self._streams) < slots:
            self.grow()
        self._link_of = [
            self._links[slot % len(self._links)] for slot in range(len(self._streams))
        ]

    def _replied(self, slot: int, before_ns: int, at_ns: int) -> None:
        assert self._sink is not None
        self._sink.replied(slot, before_ns, at_ns)

    def _connect_for(self, slots: int) -> None:
        for index, link in enumerate(self._links):
            if not link.connection.is_usable:
                link.close()
                self._links[index] = self._connect()
        while len(self._links) < MOST_CONNECTIONS and (
            len(self._links) < self._wanted
            or sum(link.connection.most_streams for link in self._links) < slots
        ):
            self._links.append(self._connect())

    def grow(self, /) -> None:
        """Add a slot; where the server takes no more calls at once, it queues."""
        slot = len(self._streams)
        self._streams.append(Stream(slot))
        self._link_of.append(self._links[slot % len(self._links)])

    def send(self, slot: int, request: Request, /) -> None:
        """Begin a call; its bytes leave with all others of this wake-up."""
        link = self._link_of[slot]
        if not link.connection.is_usable:
            link = self._link_of[slot] = self._replacement(slot)
        link.connection.start(self._streams[slot], request)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Reset the stream."""
        stream = self._streams[slot]
        sent_ns, first_ns = stream.sent_ns or now_ns(), stream.first_ns
        connection = self._link_of[slot].connection
        connection.cancel(stream)
        if connection.has_waiting:
            # Once all that are to be taken back have been.
            self._reactor.call_at(now_ns(), connection.start_waiting)
        assert self._sink is not None
        self._sink.finished(slot, sent_ns, first_ns, now_ns(), failure, b"")

    def _connect(self, *, is_urgent: bool = False) -> _Link:
        assert self._sink is not None
        assert self._endpoint is not None
        answers = Answers(keep=self._keep_answers)
        if self._error_in is not None:
            answers = Replies(self._replied, self._error_in, keep=self._keep_answers)
        connection = Http2Connection(self._sink.finished, answers)
        link = _Link(self._reactor, self._endpoint, connection)
        if is_urgent:
            link.begin_connect()
        else:
            link.connect()
        return link

    def _replacement(self, slot: int) -> _Link:
        index = slot % len(self._links)
        old = self._links[index]
        if not old.connection.is_usable:
            self._links[index] = self._connect(is_urgent=True)
            self._draining.append(old)
        return self._links[index]

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
    """A connection and the channel under it."""

    def __init__(
        self, reactor: Reactor, endpoint: Endpoint, connection: Http2Connection
    ) -> None:
        self.connection = connection
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
            TransportError: nobody accepts, or somebody who does not speak gRPC.
        """
        self._channel.connect()
        self.flush()
        deadline_ns = now_ns() + ns(_HANDSHAKE_WITHIN_S)
        while not (self.connection.is_ready or self._loss or now_ns() > deadline_ns):
            self._channel.wait(_HANDSHAKE_WITHIN_S)
        if not self.connection.is_ready:
            self.close()
            reason = self._loss.detail if self._loss else "no settings came"
            raise TransportError(
                f"{self._endpoint} does not speak gRPC: {reason}",
                hint="is this the HTTP port? Triton's gRPC port is 8001 by default",
            )

    def close(self) -> None:
        """Close the channel; calls on it are forgotten."""
        self._channel.close()

    def flush(self) -> None:
        """Write what has gathered, and stamp the calls that it begins."""
        connection, channel = self.connection, self._channel
        if channel.is_clogged or not channel.is_open:
            return
        sent_ns = now_ns()
        for stream in connection.fresh:
            stream.sent_ns = sent_ns
        connection.fresh.clear()
        payload = b"".join(connection.out)
        connection.out.clear()
        channel.write(payload)

    def _on_data(self, data: bytes, woke_ns: int) -> None:
        try:
            self.connection.feed(data, woke_ns)
        except ProtocolBrokenError as error:
            self._channel.close()
            self._on_lost(Failure("malformed answer", str(error)), woke_ns)

    def _on_lost(self, failure: Failure, woke_ns: int) -> None:
        self._loss = failure
        self.connection.is_usable = False
        if failure.kind != "connection refused":
            self.connection.fail_all(failure, woke_ns)
            return
        # A server that is away is asked again a little later, not in a spin.
        self._reactor.call_at(
            now_ns() + ns(_RETRY_AFTER_S),
            lambda: self.connection.fail_all(failure, now_ns()),
        )
