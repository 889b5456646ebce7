"""HTTP/1.1: one connection per slot, one request at a time on each."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from triton_kit.errors import TransportError
from triton_kit.loadtest.http.event_watch import EventWatch
from triton_kit.loadtest.http.http1_response import (
    HTTP_OK,
    AnswerReader,
    HeadReader,
    MalformedAnswerError,
)
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.tls_channel import open_channel
from triton_kit.loadtest.net.transport import Sink
from triton_kit.loadtest.request import Failure, OnEnd, OnReply, Request
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
        keep_answers: bool = False,
        has_events: bool = False,
    ) -> None:
        self._reactor = reactor
        self._has_events = has_events
        self._keep_answers = keep_answers
        self._address = address
        self._endpoint: Endpoint | None = None
        self._heads = HeadReader()
        self._lanes: list[_Lane] = []
        self._finished: OnEnd
        self._replied: OnReply

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
        if self._endpoint is None:
            self._endpoint = resolve(self._address, speaks="http/1.1")
        self._finished, self._replied = sink.finished, sink.replied
        may_fail = bool(self._lanes)  # a server that went away is counted, not raised
        while len(self._lanes) < slots:
            self.grow()
        for lane in self._lanes:
            lane.finished = sink.finished
            if lane.events is not None:
                lane.events.replied = sink.replied
        with suppress(TransportError) if may_fail else nullcontext():
            for lane in self._lanes[:slots]:
                lane.connect()

    def grow(self, /) -> None:
        """Add a slot, whose connection is opened by the first request."""
        assert self._endpoint is not None
        keeps_body = self._keep_answers or self._has_events
        answer = AnswerReader(self._heads, keep_body=keeps_body)
        lane = _Lane(len(self._lanes), self._reactor, self._endpoint, answer)
        lane.is_plain = not keeps_body
        lane.finished = self._finished
        if self._has_events:
            lane.events = EventWatch(
                len(self._lanes), self._replied, keep=self._keep_answers
            )
        self._lanes.append(lane)

    def send(self, slot: int, request: Request, /) -> None:
        """Write the request to its connection."""
        self._lanes[slot].send(request.payload)

    def cancel(self, slot: int, failure: Failure, /) -> None:
        """Close the connection: HTTP/1.1 has no other way to take a request back."""
        self._lanes[slot].fail(failure, now_ns())


class _Lane:
    """One connection and the request on it.

    Attributes:
        is_plain: whether nobody wants more of an answer than how it ended.
    """

    __slots__ = (
        "_answer",
        "_channel",
        "_first_ns",
        "_is_busy",
        "_is_good_answer",
        "_reactor",
        "_sent_ns",
        "_slot",
        "events",
        "finished",
        "is_plain",
    )

    finished: OnEnd

    def __init__(
        self, slot: int, reactor: Reactor, endpoint: Endpoint, answer: AnswerReader
    ) -> None:
        self._slot = slot
        self._reactor = reactor
        self._channel = open_channel(reactor, endpoint, self._on_data, self._on_lost)
        self._answer = answer
        self._is_good_answer = answer.heads.is_good_answer
        self.is_plain = False
        self._is_busy = False
        self._sent_ns = self._first_ns = 0
        self.events: EventWatch | None = None

    def connect(self) -> None:
        """Open the connection; raises TransportError."""
        if not self._channel.is_open:
            self._channel.connect()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def send(self, payload: bytes) -> None:
        """Write a request, on a new connection if the old one is gone."""
        self._is_busy = True
        channel = self._channel
        if not channel.is_open:
            channel.begin_connect()
        self._sent_ns = now_ns()
        channel.write(payload)

    def _on_data(self, data: bytes, woke_ns: int) -> None:
        if not self._first_ns:
            if (
                self.is_plain
                and self._is_good_answer(data)
                and self._is_busy
                and not self._channel.is_clogged
            ):
                self._is_busy = False
                slot, sent_ns = self._slot, self._sent_ns
                self.finished(slot, sent_ns, woke_ns, woke_ns, None, b"")
                return
            self._first_ns = woke_ns
        try:
            is_complete = self._answer.feed(data)
            if self.events is not None:
                self.events.note(self._answer.take(), woke_ns)
        except (MalformedAnswerError, ValueError) as error:
            self.fail(Failure("malformed answer", str(error)), woke_ns)
            return
        if not self._is_busy:
            self.fail(Failure("malformed answer", "nobody asked"), woke_ns)
        elif is_complete:
            self._finish(woke_ns)

    def _on_lost(self, failure: Failure, woke_ns: int) -> None:
        if self._is_busy and self._answer.ends_by_close():
            self._finish(woke_ns)
        elif failure.kind == "connection refused":
            self._fail_later(failure)
        else:
            self.fail(failure, woke_ns)

    def _finish(self, woke_ns: int) -> None:
        """Tell the sink of a complete answer, good or bad."""
        answer, failure = self._answer, None
        if answer.status != HTTP_OK:
            text = answer.detail.decode(errors="replace")
            failure = Failure(f"HTTP {answer.status}", text)
        if not answer.keep_alive or self._channel.is_clogged:
            self.close()  # an answer to half a request leaves the other half behind
        body = answer.body()
        answer.restart()
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
        self._answer.restart()
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
