"""HTTP/1.1: one connection per slot, one request at a time on each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from triton_kit.errors import TransportError
from triton_kit.loadtest.http.event_watch import EventForm, EventWatch
from triton_kit.loadtest.http.http1_response import (
    HTTP_OK,
    HeadReader,
    MalformedResponseError,
    ResponseReader,
)
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.tls_channel import open_channel
from triton_kit.loadtest.net.transport import Sink
from triton_kit.loadtest.request import Failure, OnEnd, OnResponse, Request
from triton_kit.triton.address import Address, Endpoint, resolve

# A server that is away is asked again this much later, not in a spin.
_RETRY_AFTER_S = 0.05


class Http1Transport:
    """Keeps a connection per slot, and opens it anew when the server closes it."""

    def __init__(
        self,
        reactor: Reactor,
        address: Address,
        *,
        keep_responses: bool = False,
        events: EventForm | None = None,
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._keep_responses = keep_responses
        self._address = address
        self._endpoint: Endpoint | None = None
        self._heads = HeadReader()
        self._connections: list[_Connection] = []
        self._finished: OnEnd
        self._retried: Callable[[int], None]
        self._responded: OnResponse

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def open(self, slots: int, sink: Sink, /) -> None:
        """Connect what is missing up to `slots` connections."""
        if self._endpoint is None:
            self._endpoint = resolve(self._address, speaks="http/1.1")
        self._finished, self._responded = sink.finished, sink.responded
        self._retried = sink.retried
        may_fail = bool(
            self._connections
        )  # a server that went away is counted, not raised
        while len(self._connections) < slots:
            self.grow()
        for connection in self._connections:
            connection.finished = sink.finished
            connection.retried = sink.retried
            if connection.events is not None:
                connection.events.responded = sink.responded
        with suppress(TransportError) if may_fail else nullcontext():
            for connection in self._connections[:slots]:
                connection.connect()

    def grow(self, /) -> None:
        """Add a slot, whose connection is opened by the first request."""
        assert self._endpoint is not None
        keeps_body = self._keep_responses or self._events is not None
        response = ResponseReader(self._heads, keep_body=keeps_body)
        connection = _Connection(
            len(self._connections), self._reactor, self._endpoint, response
        )
        connection.is_plain = not keeps_body
        connection.finished = self._finished
        connection.retried = self._retried
        if self._events is not None:
            connection.events = EventWatch(
                len(self._connections),
                self._responded,
                self._events,
                keep=self._keep_responses,
            )
        self._connections.append(connection)

    def send(self, slot: int, request: Request, /) -> None:
        """Write the request to its connection."""
        self._connections[slot].send(request.payload)

    def renew(self, slot: int) -> None:
        """Close the connection of a free slot; its next request opens a new one."""
        self._connections[slot].close()

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Close the connection: HTTP/1.1 has no other way to take a request back."""
        self._connections[slot].fail(failure, now_ns())


class _Connection:
    """One connection and the request on it.

    Attributes:
        is_plain: whether the sink needs only the end of a response, not its body.
    """

    __slots__ = (
        "_channel",
        "_first_ns",
        "_is_busy",
        "_is_whole_success",
        "_payload",
        "_reactor",
        "_response",
        "_sent_ns",
        "_slot",
        "_uses",
        "events",
        "finished",
        "is_plain",
        "retried",
    )

    finished: OnEnd
    retried: Callable[[int], None]

    def __init__(
        self, slot: int, reactor: Reactor, endpoint: Endpoint, response: ResponseReader
    ) -> None:
        self._slot = slot
        self._reactor = reactor
        self._channel = open_channel(reactor, endpoint, self._on_data, self._on_lost)
        self._response = response
        self._is_whole_success = response.heads.is_whole_success
        self.is_plain = False
        self._is_busy = False
        self._sent_ns = self._first_ns = 0
        self._payload = b""
        self._uses = 0  # requests on this connection
        self.events: EventWatch | None = None

    def connect(self) -> None:
        """Open the connection; raises TransportError."""
        if not self._channel.is_open:
            self._uses = 0
            self._channel.connect()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def send(self, payload: bytes) -> None:
        """Write a request, on a new connection if the old one is gone."""
        self._is_busy = True
        self._payload = payload
        channel = self._channel
        if not channel.is_open:
            self._uses = 0
            channel.begin_connect()
        self._uses += 1
        self._sent_ns = now_ns()
        channel.write(payload)

    def _on_data(self, data: bytes, woke_ns: int) -> None:
        if not self._first_ns:
            if (
                self.is_plain
                and self._is_whole_success(data)
                and self._is_busy
                and not self._channel.is_write_blocked
            ):
                self._is_busy = False
                slot, sent_ns = self._slot, self._sent_ns
                self.finished(slot, sent_ns, woke_ns, woke_ns, None, b"")
                return
            self._first_ns = woke_ns
        try:
            is_complete = self._response.feed(data)
            if self.events is not None:
                self.events.note(self._response.take(), woke_ns)
        except (MalformedResponseError, ValueError) as error:
            self.fail(Failure("malformed response", str(error)), woke_ns)
            return
        if not self._is_busy:
            self.fail(Failure("malformed response", "no request was sent"), woke_ns)
        elif is_complete:
            self._finish(woke_ns)

    def _on_lost(self, failure: Failure, woke_ns: int) -> None:
        if self._is_busy and self._response.ends_by_close():
            self._finish(woke_ns)
        elif failure.kind == "connection refused":
            self._fail_later(failure)
        elif self._is_lost_unread(failure):
            # curl and Go's client send it again, too.
            self.retried(self._slot)
            self.send(self._payload)
        else:
            self.fail(failure, woke_ns)

    def _is_lost_unread(self, failure: Failure) -> bool:
        """Whether a kept-alive connection was closed while a request was on its way.

        A server may do so at any time (RFC 9112 9.3.1). A reset is no such close: the
        server may have had the request, and most clients report an error.
        """
        is_new = self._uses == 1
        was_closed = failure.kind == "connection closed"
        return self._is_busy and was_closed and not (is_new or self._first_ns)

    def _finish(self, woke_ns: int) -> None:
        """Tell the sink of a complete response, successful or failed."""
        response, failure = self._response, None
        if response.status != HTTP_OK:
            text = response.detail.decode(errors="replace")
            failure = Failure(f"HTTP {response.status}", text)
        if not response.keep_alive or self._channel.is_write_blocked:
            self.close()  # half of the request is not sent yet
        body = response.body()
        response.restart()
        first_ns, self._first_ns, self._is_busy = self._first_ns, 0, False
        if self.events is not None:
            first_ns = self.events.first_ns or first_ns
            failure = failure or self.events.failure
            body = self.events.body()
            self.events.restart()
        self.finished(self._slot, self._sent_ns, first_ns, woke_ns, failure, body)

    def fail(self, failure: Failure, at_ns: int) -> None:
        """Close the connection; a request on it has failed."""
        self.close()
        self._response.restart()
        if self.events is not None:
            self.events.restart()
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

        self._reactor.call_at(now_ns() + ns(_RETRY_AFTER_S), fail)
