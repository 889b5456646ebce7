"""One HTTP/2 connection as a gRPC client sees it, without its socket.

Bytes come in through `feed`; frames to send gather in `out`. Calls are unary: one
message there, one message back.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from triton_kit.loadtest.http.grpc_response import Answers
from triton_kit.loadtest.http.http2_frames import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    FRAME_HEAD_BYTES,
    LARGEST_BLOCK_BYTES,
    LARGEST_STREAM_NUMBER,
    LARGEST_WINDOW,
    PADDED,
    PREFACE,
    PRIORITY,
    Code,
    HeaderDecoder,
    Kind,
    ProtocolBrokenError,
    Setting,
    check_size,
    code_name,
    frame,
    settings,
    unpadded,
    window_update,
)
from triton_kit.loadtest.http.http2_writer import Sender, Stream
from triton_kit.loadtest.http.response_template import OrdinaryAnswer
from triton_kit.loadtest.request import Failure, OnEnd, Request

# No call comes after the one with this number but those that wait already, which are
# fewer than the numbers left over.
_LAST_NUMBER = LARGEST_STREAM_NUMBER - 2**20
_UNLIMITED = 2**31
# The peer may send this much more before it hears from us; well above one batch.
_REPLENISH_BYTES = LARGEST_WINDOW // 2
_OUR_FRAME_BYTES = 256 * 1024
_OUR_SETTINGS = {
    Setting.HEADER_TABLE_SIZE: 0,
    Setting.ENABLE_PUSH: 0,
    Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW,
    Setting.MAX_FRAME_SIZE: _OUR_FRAME_BYTES,
}


class Http2Connection:
    """The state of one connection: windows, settings, streams in flight.

    Attributes:
        on_end: told the end of each call; as a sink's `finished`.
        out: frames to write; the owner clears it.
        fresh: streams whose first bytes are in `out`.
        is_ready: whether the peer's first SETTINGS have come.
        is_usable: whether new calls may start; False after GOAWAY.
        most_streams: how many calls the peer takes at once.
    """

    def __init__(self, on_end: OnEnd, answers: Answers | None = None) -> None:
        self._sender = Sender()
        self.out = self._sender.out
        self._write_request = self._sender.request
        self.out += (
            PREFACE,
            settings(_OUR_SETTINGS),
            window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW),
        )
        self.fresh: list[Stream] = []
        self.is_ready = False
        self.is_usable = True
        self.most_streams = _UNLIMITED
        self.on_end = on_end
        self._answers = answers or Answers()
        self._is_careful = self._answers.are_looked_at
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[tuple[Stream, Request]] = deque()
        self._next_number = 1
        self._decoder = HeaderDecoder()
        self._ordinary: OrdinaryAnswer | None = None
        self._rest = b""
        self._continued: tuple[int, int, bytes] | None = None  # stream, flags, block
        self._unreported_bytes = 0
        self._handlers: dict[int, Callable[[int, int, bytes, int], None]] = {
            Kind.DATA: self._on_data,
            Kind.HEADERS: self._on_headers,
            Kind.RST_STREAM: self._on_reset,
            Kind.SETTINGS: self._on_settings,
            Kind.PUSH_PROMISE: self._on_push,
            Kind.PING: self._on_ping,
            Kind.GOAWAY: self._on_goaway,
            Kind.WINDOW_UPDATE: self._on_window_update,
            Kind.CONTINUATION: self._on_continuation,
        }

    @property
    def in_flight(self) -> int:
        """Calls begun and not ended, those waiting for their turn included."""
        return len(self._streams) + len(self._waiting)

    @property
    def has_waiting(self) -> bool:
        """Whether calls are queued."""
        return bool(self._waiting)

    def start(self, stream: Stream, request: Request) -> None:
        """Begin a call, or queue it while the peer takes no more at once."""
        # A place that is free is for who has waited: a sink sends its next request
        # before the queue moves up.
        if self._waiting or len(self._streams) >= self.most_streams:
            stream.number = -1
            stream.sent_ns = 0
            self._waiting.append((stream, request))
            return
        number = self._next_number
        self._next_number = number + 2
        if number >= _LAST_NUMBER:
            self.is_usable = False
        stream.number = number
        self._streams[number] = stream
        self.fresh.append(stream)
        self._write_request(stream, request)

    def start_waiting(self) -> None:
        """Begin queued calls, the oldest first, as far as the peer takes them."""
        # Out of the way of `start`, which would queue them again.
        waiting, self._waiting = self._waiting, deque()
        while waiting and len(self._streams) < self.most_streams:
            self.start(*waiting.popleft())
        self._waiting = waiting

    def cancel(self, stream: Stream) -> None:
        """Take a call back; `on_end` is not called for it.

        Its place is free from the next `start_waiting` on: those that wait may be
        taken back, too, and must not be sent before.
        """
        if stream.number == -1:
            self._waiting = deque(w for w in self._waiting if w[0] is not stream)
        elif self._streams.pop(stream.number, None) is not None:
            self._sender.forget(stream)
            self._sender.reset(stream.number, Code.CANCEL)
        stream.rest()

    def feed(self, data: bytes, woke_ns: int) -> None:
        """Read answers as a whole where they are ordinary, frame by frame otherwise.

        Raises:
            ProtocolBrokenError: the peer does not keep to HTTP/2.
        """
        if self._rest:
            data = self._rest + data
        if not self.is_ready:
            self._check_first_frame(data)
        at, end = 0, len(data)
        while end - at >= FRAME_HEAD_BYTES:
            if stop := self._end_ordinary(data, at, woke_ns):
                at = stop
                continue
            high, low, what, number = FRAME_HEAD.unpack_from(data, at)
            start = at + FRAME_HEAD_BYTES
            stop = start + (high << 8 | low)
            if stop > end:
                _check_frame_size(stop - start)
                break
            at = stop
            self._on_frame(what, number, data[start:stop], woke_ns)
        self._rest = data[at:]
        if self._unreported_bytes > _REPLENISH_BYTES:
            self._widen()

    def fail_all(self, failure: Failure, at_ns: int) -> None:
        """The connection is lost, and every call on it."""
        self.is_usable = False
        lost = [*self._streams.values(), *(stream for stream, _ in self._waiting)]
        self._streams.clear()
        self._waiting.clear()
        for stream in lost:
            self._tell(stream, at_ns, failure)

    def _widen(self) -> None:
        """Let the peer go on sending, also on a stream that never ends.

        The window of a stream is as large as the one of them all, which is never used
        up, so there is no need to look at a stream at any other time.
        """
        self.out.append(window_update(0, self._unreported_bytes))
        self._unreported_bytes = 0
        for number, stream in self._streams.items():
            if stream.taken:
                self.out.append(window_update(number, stream.taken))
                stream.taken = 0

    # Answers.

    def _end_ordinary(self, data: bytes, at: int, woke_ns: int) -> int:
        """End the call whose whole answer is at `at`; return where it ends, or 0."""
        if self._ordinary is None or self._is_careful:
            return 0
        whole = self._ordinary.read(data, at)
        if whole is None:
            return 0
        number, size, stop = whole
        stream = self._streams.get(number)
        if stream is None or stream.first_ns or stream.unsent is not None:
            return 0
        del self._streams[number]
        self._unreported_bytes += size
        self.on_end(stream.slot, stream.sent_ns, woke_ns, woke_ns, None, b"")
        if self._waiting:
            self.start_waiting()
        return stop

    def _on_frame(self, what: int, number: int, payload: bytes, woke_ns: int) -> None:
        kind, flags = divmod(what, 256)
        if self._continued is not None and kind != Kind.CONTINUATION:
            raise ProtocolBrokenError("a header block was interrupted")
        if handler := self._handlers.get(kind):
            handler(flags, number & LARGEST_STREAM_NUMBER, payload, woke_ns)

    def _on_data(self, flags: int, number: int, payload: bytes, woke_ns: int) -> None:
        self._unreported_bytes += len(payload)
        stream = self._streams.get(number)
        if stream is None:
            self._check_number(number)
            return  # of a call that was taken back
        stream.taken += len(payload)
        payload = unpadded(payload) if flags & PADDED else payload
        if not stream.first_ns:
            stream.first_ns = woke_ns
        self._answers.take(stream, payload, woke_ns)
        if flags & END_STREAM:
            self._end(stream, woke_ns, Failure("malformed answer", "no gRPC trailers"))

    def _on_headers(
        self, flags: int, number: int, payload: bytes, woke_ns: int
    ) -> None:
        if flags & (PADDED | PRIORITY):
            payload = unpadded(payload) if flags & PADDED else payload
            payload = payload[5:] if flags & PRIORITY else payload
        if flags & END_HEADERS:
            self._on_block(flags, number, payload, woke_ns)
        else:
            self._continued = (number, flags, payload)
            self._is_careful = True

    def _on_continuation(
        self, flags: int, number: int, payload: bytes, woke_ns: int
    ) -> None:
        if self._continued is None or self._continued[0] != number:
            raise ProtocolBrokenError("CONTINUATION without HEADERS")
        _, first_flags, block = self._continued
        block += payload
        if len(block) > LARGEST_BLOCK_BYTES:
            raise ProtocolBrokenError(f"headers longer than {LARGEST_BLOCK_BYTES}")
        if flags & END_HEADERS:
            self._continued = None
            self._is_careful = self._answers.are_looked_at
            self._on_block(first_flags, number, block, woke_ns)
        else:
            self._continued = (number, first_flags, block)

    def _on_block(self, flags: int, number: int, block: bytes, woke_ns: int) -> None:
        meaning = self._decoder.decode(block)
        stream = self._streams.get(number)
        if stream is None:
            self._check_number(number)
            return
        if not stream.first_ns:
            stream.first_ns = woke_ns
        if meaning.http_status is not None:
            stream.http_status = meaning.http_status
        if not flags & END_STREAM:
            stream.head = block
            return
        failure = self._answers.failure(stream, meaning)
        if failure is None:
            self._learn(stream.head, block)
        self._end(stream, woke_ns, failure)

    def _learn(self, head: bytes, trailers: bytes) -> None:
        """Know the next good answer with these header blocks at a glance."""
        if self._ordinary is None or self._ordinary.blocks != (head, trailers):
            self._ordinary = OrdinaryAnswer(head, trailers)

    def _on_reset(self, _flags: int, number: int, payload: bytes, woke_ns: int) -> None:
        check_size("RST_STREAM", payload, 4)
        stream = self._streams.get(number)
        if stream is None:
            self._check_number(number)
            return
        name = code_name(int.from_bytes(payload, "big"))
        self._end(stream, woke_ns, Failure(f"RST_STREAM {name}"))

    def _end(self, stream: Stream, at_ns: int, failure: Failure | None) -> None:
        del self._streams[stream.number]
        if self._sender.forget(stream):  # answered before we were done asking
            self._sender.reset(stream.number, Code.NO_ERROR)
        self._tell(stream, at_ns, failure)
        if self._waiting:
            self.start_waiting()

    def _tell(self, stream: Stream, at_ns: int, failure: Failure | None) -> None:
        answer = b"".join(stream.parts)
        sent_ns, first_ns = stream.sent_ns or at_ns, stream.first_ns
        stream.rest()  # before the sink is told, who may use it again at once
        self.on_end(stream.slot, sent_ns, first_ns, at_ns, failure, answer)

    # The connection itself.

    def _check_first_frame(self, data: bytes) -> None:
        if len(data) > 3 and data[3] != Kind.SETTINGS:
            raise ProtocolBrokenError(f"not HTTP/2: it began with {data[:24]!r}")

    def _check_number(self, number: int) -> None:
        if number >= self._next_number or not number % 2:
            raise ProtocolBrokenError(f"a frame on stream {number}, which nobody began")

    def _on_settings(
        self, flags: int, number: int, payload: bytes, _woke_ns: int
    ) -> None:
        if flags & ACK:
            return
        if number or len(payload) % 6:
            raise ProtocolBrokenError("malformed SETTINGS")
        for key, value in struct.iter_unpack(">HL", payload):
            self._apply(key, value)
        self.is_ready = True
        self.out.append(frame(Kind.SETTINGS, ACK, 0, b""))
        self._sender.resume()
        if self._waiting:
            self.start_waiting()

    def _apply(self, key: int, value: int) -> None:
        if key == Setting.HEADER_TABLE_SIZE:
            self._sender.set_table_bytes(value)
        elif key == Setting.MAX_CONCURRENT_STREAMS:
            self.most_streams = value
        elif key == Setting.INITIAL_WINDOW_SIZE:
            self._sender.set_initial_window(value)
        elif key == Setting.MAX_FRAME_SIZE:
            self._sender.set_frame_bytes(value)

    def _on_push(self, *_: object) -> None:
        raise ProtocolBrokenError("PUSH_PROMISE, which we do not allow")

    def _on_ping(self, flags: int, _number: int, payload: bytes, _woke_ns: int) -> None:
        check_size("PING", payload, 8)
        if not flags & ACK:
            self.out.append(frame(Kind.PING, ACK, 0, payload))

    def _on_goaway(
        self, _flags: int, _number: int, payload: bytes, woke_ns: int
    ) -> None:
        if len(payload) < 8:
            raise ProtocolBrokenError("malformed GOAWAY")
        last, code = struct.unpack_from(">LL", payload)
        last &= LARGEST_STREAM_NUMBER
        self.is_usable = False
        detail = payload[8:].decode(errors="replace")
        failure = Failure(f"GOAWAY {code_name(code)}", detail)
        refused = [s for number, s in self._streams.items() if number > last]
        refused += [stream for stream, _ in self._waiting]
        self._waiting.clear()
        for stream in refused:
            self._streams.pop(stream.number, None)
            self._sender.forget(stream)
            self._tell(stream, woke_ns, failure)

    def _on_window_update(
        self, _flags: int, number: int, payload: bytes, _woke_ns: int
    ) -> None:
        check_size("WINDOW_UPDATE", payload, 4)
        more = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if number == 0:
            self._sender.widen(None, more)
        elif stream := self._streams.get(number):
            self._sender.widen(stream, more)


def _check_frame_size(size: int) -> None:
    if size > _OUR_FRAME_BYTES:
        raise ProtocolBrokenError(f"a frame of {size} bytes")
