"""One HTTP/2 connection as a gRPC client sees it (RFC 9113), without its socket.

Bytes come in through `feed`, frames to send gather in `out`, and `on_end` learns how
each call ended. A call is one stream.

Theory of operation:

* Fast path. The client announces a header table of size 0, so equal field blocks mean
  the same, and nearly every response repeats those of an earlier one: HEADERS, one DATA
  frame, HEADERS with END_STREAM. `ResponseTemplate` recognises such a response by two
  comparisons at fixed offsets. `RequestWriter` keeps the frames of each request but for
  the stream id.
* Careful path. Everything else is read frame by frame, each by the method of its frame
  type. A frame that arrives in pieces waits in `_unread`.
* Window policy. The client grants the largest window that HTTP/2 has, on the connection
  and on each stream, so that the server never waits. Once half of it is used, the
  client returns to every window what was used of it.
* Refused calls. After GOAWAY a connection starts no call. The server has not processed
  the streams above its last stream id, nor those that it resets with REFUSED_STREAM,
  nor those whose bytes never left: `on_refused` gets them, to send them elsewhere.
  Any other call that breaks is an error.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from triton_kit.loadtest.http.grpc_response import UnaryResponses
from triton_kit.loadtest.http.http2_frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    FRAME_HEAD_BYTES,
    LARGEST_STREAM_ID,
    LARGEST_WINDOW,
    PADDED,
    PRIORITY,
    ErrorCode,
    FieldBlockDecoder,
    FieldBlockPart,
    FrameType,
    ProtocolError,
    Setting,
    check_first_frame,
    check_frame_size,
    check_size,
    error_code_name,
    parse_goaway,
    without_padding,
)
from triton_kit.loadtest.http.http2_request_writer import RequestWriter, Stream
from triton_kit.loadtest.http.response_template import ResponseTemplate
from triton_kit.loadtest.request import Failure, OnEnd, Request

# After the stream of this id only the calls that wait already are sent, which are fewer
# than the ids left over.
_LAST_STREAM_ID = LARGEST_STREAM_ID - 2**20
_UNLIMITED = 2**31
# The server may send this much more before it hears from us; well above one batch.
_REPLENISH_BYTES = LARGEST_WINDOW // 2
# What `on_refused` takes: streams that the server has not processed, why, and when that
# was known.
OnRefused = Callable[[list[Stream], Failure, int], None]


class Http2Connection:
    """The state of one connection: windows, settings, streams in flight.

    Attributes:
        on_end: learns how each call ended; as a sink's `finished`.
        on_refused: gets the streams that were not processed; without it they fail.
        out: frames to write; the owner clears it.
        fresh: streams whose first bytes are in `out`.
        is_ready: whether the server's first SETTINGS have come.
        is_usable: whether new calls may start; False after GOAWAY.
        has_progressed: whether the server processed any call before its GOAWAY.
        last_stream_id: the call after which no more may start.
        max_concurrent_streams: how many calls the server accepts at once.
    """

    def __init__(self, on_end: OnEnd, responses: UnaryResponses | None = None) -> None:
        self._writer = RequestWriter()
        self.out = self._writer.out
        self._write_request = self._writer.write
        self.fresh: list[Stream] = []
        self.is_ready = False
        self.is_usable = True
        self.has_progressed = False
        self.max_concurrent_streams = _UNLIMITED
        self.on_end = on_end
        self.on_refused: OnRefused | None = None
        self._responses = responses or UnaryResponses()
        self._is_careful = self._responses.need_every_frame
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[Stream] = deque()
        self._next_stream_id = 1
        self.last_stream_id = _LAST_STREAM_ID
        self._decoder = FieldBlockDecoder()
        self._template: ResponseTemplate | None = None
        self._unread = b""
        self._woke_ns = 0  # when the frame came that is being read
        self._continued: FieldBlockPart | None = None  # until its CONTINUATION comes
        self._unacknowledged_bytes = 0
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            FrameType.DATA: self._on_data,
            FrameType.HEADERS: self._on_headers,
            FrameType.RST_STREAM: self._on_rst_stream,
            FrameType.SETTINGS: self._on_settings,
            FrameType.PUSH_PROMISE: self._on_push_promise,
            FrameType.PING: self._on_ping,
            FrameType.GOAWAY: self._on_goaway,
            FrameType.WINDOW_UPDATE: self._on_window_update,
            FrameType.CONTINUATION: self._on_continuation,
        }

    @property
    def in_flight(self) -> int:
        """Calls begun and not ended, those that wait for their turn included."""
        return len(self._streams) + len(self._waiting)

    @property
    def has_waiting(self) -> bool:
        """Whether calls wait for their turn."""
        return bool(self._waiting)

    def start(self, stream: Stream, request: Request) -> None:
        """Begin a call, or queue it while the server accepts no more at once."""
        stream.request = request
        # A free place belongs to the call that waited longest: a sink sends its next
        # request before the queue moves up.
        if self._waiting or len(self._streams) >= self.max_concurrent_streams:
            stream.stream_id = -1
            stream.sent_ns = 0
            self._waiting.append(stream)
            return
        stream_id = self._next_stream_id
        self._next_stream_id = stream_id + 2
        if stream_id >= self.last_stream_id:
            self.is_usable = False
        stream.stream_id = stream_id
        self._streams[stream_id] = stream
        self.fresh.append(stream)
        self._write_request(stream, request)

    def start_waiting(self) -> None:
        """Begin queued calls, the oldest first, as far as the server accepts them."""
        # Out of the way of `start`, which would queue them again.
        waiting, self._waiting = self._waiting, deque()
        while waiting and len(self._streams) < self.max_concurrent_streams:
            stream = waiting.popleft()
            assert stream.request is not None
            self.start(stream, stream.request)
        self._waiting = waiting

    def cancel(self, stream: Stream) -> None:
        """Take a call back; `on_end` is not called for it.

        Its place is free from the next `start_waiting` on: other calls that wait may
        be taken back as well, and must not be sent before.
        """
        if stream.stream_id == -1:
            self._waiting = deque(w for w in self._waiting if w is not stream)
        elif self._streams.pop(stream.stream_id, None) is not None:
            self._writer.forget(stream)
            self._writer.reset(stream.stream_id, ErrorCode.CANCEL)
        stream.clear()

    def feed(self, data: bytes, woke_ns: int) -> None:
        """Read whole responses where the template fits, single frames otherwise.

        Raises:
            ProtocolError: the server does not keep to HTTP/2.
        """
        if self._unread:
            data = self._unread + data
        if not self.is_ready:
            check_first_frame(data)
        at, end = 0, len(data)
        while end - at >= FRAME_HEAD_BYTES:
            if stop := self._end_by_template(data, at, woke_ns):
                at = stop
                continue
            high, low, type_and_flags, stream_id = FRAME_HEAD.unpack_from(data, at)
            start = at + FRAME_HEAD_BYTES
            stop = start + (high << 8 | low)
            if stop > end:
                check_frame_size(stop - start)
                break
            at = stop
            self._on_frame(type_and_flags, stream_id, data[start:stop], woke_ns)
        self._unread = data[at:]
        if self._unacknowledged_bytes > _REPLENISH_BYTES:
            self._writer.replenish_windows(self._unacknowledged_bytes, self._streams)
            self._unacknowledged_bytes = 0

    def lose(self, failure: Failure, at_ns: int) -> None:
        """Fail every call: the connection is lost.

        Calls whose bytes never left are refused instead, unless there was no HTTP/2
        connection at all.
        """
        self.is_usable = False
        unsent: set[int] = set()
        calls = [*self._streams.values(), *self._waiting]
        if self.is_ready:
            unsent = {-1, *(stream.stream_id for stream in self.fresh)}
        self._streams.clear()
        self._waiting.clear()
        never_left = [stream for stream in calls if stream.stream_id in unsent]
        for stream in [stream for stream in calls if stream.stream_id not in unsent]:
            self._report(stream, at_ns, failure)
        self._refuse(never_left, failure, at_ns)

    # Responses.

    def _end_by_template(self, data: bytes, at: int, woke_ns: int) -> int:
        """End the call whose whole response is at `at`; return its end, or 0."""
        if self._template is None or self._is_careful:
            return 0
        whole = self._template.read(data, at)
        if whole is None:
            return 0
        stream_id, size, stop = whole
        stream = self._streams.get(stream_id)
        if stream is None or stream.first_ns or stream.unsent is not None:
            return 0
        del self._streams[stream_id]
        self._unacknowledged_bytes += size
        self.on_end(stream.slot, stream.sent_ns, woke_ns, woke_ns, None, b"")
        if self._waiting:
            self.start_waiting()
        return stop

    def _on_frame(
        self, type_and_flags: int, stream_id: int, payload: bytes, woke_ns: int
    ) -> None:
        frame_type, flags = divmod(type_and_flags, 256)
        if self._continued is not None and frame_type != FrameType.CONTINUATION:
            raise ProtocolError("another frame interrupted a field block")
        if handler := self._handlers.get(frame_type):
            self._woke_ns = woke_ns
            handler(flags, stream_id & LARGEST_STREAM_ID, payload)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._unacknowledged_bytes += len(payload)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_stream_id(stream_id)
            return  # of a call that was taken back
        stream.unacknowledged_bytes += len(payload)
        payload = without_padding(payload) if flags & PADDED else payload
        if not stream.first_ns:
            stream.first_ns = self._woke_ns
        try:
            self._responses.take(stream, payload, self._woke_ns)
        except ValueError as error:
            self._writer.forget(stream)
            self._writer.reset(stream_id, ErrorCode.CANCEL)
            self._end(stream, Failure("malformed response", str(error)))
            return
        if flags & END_STREAM:
            self._end(stream, self._responses.failure(stream, None))

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (PADDED | PRIORITY):
            payload = without_padding(payload) if flags & PADDED else payload
            payload = payload[5:] if flags & PRIORITY else payload
        if flags & END_HEADERS:
            self._on_field_block(flags, stream_id, payload)
        else:
            self._continued = FieldBlockPart(stream_id, flags, payload)
            self._is_careful = True

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        part = self._continued
        if part is None or part.stream_id != stream_id:
            raise ProtocolError("CONTINUATION without HEADERS")
        part.add(payload)
        if flags & END_HEADERS:
            self._continued = None
            self._is_careful = self._responses.need_every_frame
            self._on_field_block(part.flags, stream_id, part.block)

    def _on_field_block(self, flags: int, stream_id: int, field_block: bytes) -> None:
        fields = self._decoder.decode(field_block)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_stream_id(stream_id)
            return
        if not stream.first_ns:
            stream.first_ns = self._woke_ns
        if fields.http_status is not None:
            stream.http_status = fields.http_status
        if not flags & END_STREAM:
            stream.header_block = field_block
            return
        failure = self._responses.failure(stream, fields)
        if failure is None:
            self._remember_template(stream.header_block, field_block)
        self._end(stream, failure)

    def _remember_template(self, headers: bytes, trailers: bytes) -> None:
        """Recognise the next successful response that has these field blocks."""
        if self._template is None or self._template.blocks != (headers, trailers):
            self._template = ResponseTemplate(headers, trailers)

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        check_size("RST_STREAM", payload, 4)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_stream_id(stream_id)
            return
        code = int.from_bytes(payload, "big")
        failure = Failure(f"RST_STREAM {error_code_name(code)}")
        if code != ErrorCode.REFUSED_STREAM or stream.first_ns:
            self._end(stream, failure)
            return
        del self._streams[stream_id]
        self._writer.forget(stream)
        self._refuse([stream], failure, self._woke_ns)
        if self._waiting:
            self.start_waiting()

    def _end(self, stream: Stream, failure: Failure | None) -> None:
        del self._streams[stream.stream_id]
        if self._writer.forget(stream):  # the response came before the whole request
            self._writer.reset(stream.stream_id, ErrorCode.NO_ERROR)
        self._report(stream, self._woke_ns, failure)
        if self._waiting:
            self.start_waiting()

    def _report(self, stream: Stream, at_ns: int, failure: Failure | None) -> None:
        body = bytes(stream.body)
        sent_ns, first_ns = stream.sent_ns or at_ns, stream.first_ns
        stream.clear()  # the sink may use it again at once
        self.on_end(stream.slot, sent_ns, first_ns, at_ns, failure, body)

    def _refuse(self, streams: list[Stream], failure: Failure, at_ns: int) -> None:
        """Hand back streams that the server has not processed."""
        for stream in self.fresh:
            stream.sent_ns = 0  # of an earlier call
        self.fresh[:] = [stream for stream in self.fresh if stream not in streams]
        if self.on_refused is None:
            for stream in streams:
                self._report(stream, at_ns, failure)
        elif streams:
            self.on_refused(streams, failure, at_ns)

    # The connection itself.

    def _check_stream_id(self, stream_id: int) -> None:
        if stream_id >= self._next_stream_id or not stream_id % 2:
            raise ProtocolError(f"a frame on stream {stream_id}, which is idle")

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & ACK:
            return
        if stream_id or len(payload) % 6:
            raise ProtocolError("malformed SETTINGS")
        for key, value in struct.iter_unpack(">HL", payload):
            if key == Setting.MAX_CONCURRENT_STREAMS:
                self.max_concurrent_streams = value
            else:
                self._writer.apply(key, value)
        self.is_ready = True
        self._writer.acknowledge(FrameType.SETTINGS, b"")
        self._writer.resume()
        if self._waiting:
            self.start_waiting()

    def _on_push_promise(self, *_: object) -> None:
        raise ProtocolError("PUSH_PROMISE, although the client disabled push")

    def _on_ping(self, flags: int, _stream_id: int, payload: bytes) -> None:
        check_size("PING", payload, 8)
        if not flags & ACK:
            self._writer.acknowledge(FrameType.PING, payload)

    def _on_goaway(self, _flags: int, _stream_id: int, payload: bytes) -> None:
        last, failure = parse_goaway(payload)
        self.is_usable = False
        self.has_progressed = last > 0
        refused = [s for stream_id, s in self._streams.items() if stream_id > last]
        for stream in refused:
            del self._streams[stream.stream_id]
            self._writer.forget(stream)
        refused += self._waiting
        self._waiting.clear()
        self._refuse(refused, failure, self._woke_ns)

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        check_size("WINDOW_UPDATE", payload, 4)
        increment = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if stream_id == 0:
            self._writer.widen(None, increment)
        elif stream := self._streams.get(stream_id):
            self._writer.widen(stream, increment)
