"""The sending half of an HTTP/2 connection: frames, and the windows they must fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from triton_kit.loadtest.http.http2_frames import (
    ACK,
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW,
    ErrorCode,
    FieldBlockEncoder,
    FrameType,
    ProtocolError,
    Setting,
    frame,
    opening,
    window_update,
)
from triton_kit.loadtest.request import Request

# Type and flags of a frame, below its length in one number of five bytes.
_HEADERS = FrameType.HEADERS << 8 | END_HEADERS
_LAST_DATA = FrameType.DATA << 8 | END_STREAM


# A server that asks for acknowledgements and reads none must not fill our memory.
_MAX_BACKLOG_FRAMES = 1_000_000

UNKNOWN = -(2**60)


class Stream:
    """One call. Its object lives as long as the slot, whose calls all use it.

    Attributes:
        stream_id: 0 between calls, -1 while the call waits for its turn.
        request: what the call sends.
        sent_ns: when its first bytes left; 0 before.
        first_ns: when its first bytes came back; 0 before.
        http_status: of the response; 0 before.
        header_block: the field block that the response began with.
        unacknowledged_bytes: came from the server, and no WINDOW_UPDATE returned them.
        remaining_bytes: of the message; UNKNOWN before its prefix has come.
        body: the response so far, where it is kept or its prefix is incomplete.
        last_message_ns: when the last message of a streaming response came.
        error: the error in the first message that has one.
        window: how much of the request the server accepts on this stream.
        unsent: the part of the request that waits for a window.
    """

    __slots__ = (
        "body",
        "error",
        "first_ns",
        "header_block",
        "http_status",
        "last_message_ns",
        "remaining_bytes",
        "request",
        "sent_ns",
        "slot",
        "stream_id",
        "unacknowledged_bytes",
        "unsent",
        "window",
    )

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.request: Request | None = None
        self.clear()

    def clear(self) -> None:
        """Forget the call. One whose response fitted the template left no traces."""
        self.stream_id = self.sent_ns = self.first_ns = self.http_status = 0
        self.last_message_ns = self.unacknowledged_bytes = self.window = 0
        self.error = ""
        self.header_block = b""
        self.remaining_bytes = UNKNOWN
        self.body = bytearray()
        self.unsent: memoryview | None = None


class RequestWriter:
    """Writes requests as frames into `out`; what exceeds a window waits."""

    def __init__(self) -> None:
        self.out: list[bytes] = [*opening()]
        self._encoder = FieldBlockEncoder()
        # Requests that fit one HEADERS and one DATA frame, but for their stream id.
        self._frames: dict[Request, tuple[bytes, bytes, bytes]] = {}
        self._window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._max_frame_bytes = DEFAULT_FRAME_BYTES
        self._blocked: deque[Stream] = deque()

    def write(self, stream: Stream, request: Request) -> None:
        """Write a whole request, or as much of it as the windows allow now."""
        frames = self._frames.get(request)
        size = len(request.payload)
        if frames is None or size > self._window:
            self._write_slowly(stream, request)
            return
        self._window -= size
        stream_id = stream.stream_id.to_bytes(4, "big")
        head, middle, body = frames
        self.out += (head, stream_id, middle, stream_id, body)

    def _write_slowly(self, stream: Stream, request: Request) -> None:
        assert request.headers is not None
        field_block, is_repeatable = self._encoder.encode(request.headers)
        if is_repeatable:
            self._remember(request, field_block)
        else:
            self._frames.clear()  # their indices have moved
        self._write_headers(stream.stream_id, field_block)
        stream.window = self._initial_window
        stream.unsent = memoryview(request.payload)
        if not self._write_data(stream):
            self._blocked.append(stream)

    def _remember(self, request: Request, field_block: bytes) -> None:
        """Keep the frames of a request but for its stream id, if they are only two."""
        size = len(request.payload)
        if (
            max(len(field_block), size) > self._max_frame_bytes
            or size > self._initial_window
        ):
            return
        head = (len(field_block) << 16 | _HEADERS).to_bytes(5, "big")
        data = (size << 16 | _LAST_DATA).to_bytes(5, "big")
        self._frames[request] = head, field_block + data, request.payload

    def forget(self, stream: Stream) -> bool:
        """Write no more of a stream; return whether the request was not all written."""
        if stream.unsent is None:
            return False
        stream.unsent = None
        self._blocked.remove(stream)
        return True

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Write RST_STREAM."""
        self.out.append(
            frame(FrameType.RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))
        )

    def widen(self, stream: Stream | None, increment: int) -> None:
        """Follow a WINDOW_UPDATE, of the connection where `stream` is None.

        Raises:
            ProtocolError: the window exceeds what HTTP/2 allows.
        """
        if stream is not None:
            stream.window += increment
        else:
            self._window += increment
            if self._window > LARGEST_WINDOW or not increment:
                raise ProtocolError(f"WINDOW_UPDATE by {increment}")
        self.resume()

    def apply(self, key: int, value: int) -> None:
        """Follow one of the server's settings.

        Raises:
            ProtocolError: HTTP/2 does not allow the value.
        """
        if key == Setting.HEADER_TABLE_SIZE:
            self._encoder.resize(value)
        elif key == Setting.INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise ProtocolError(f"SETTINGS_INITIAL_WINDOW_SIZE of {value}")
            for stream in self._blocked:  # the windows of open streams follow it
                stream.window += value - self._initial_window
            self._initial_window = value
        elif key == Setting.MAX_FRAME_SIZE:
            if not DEFAULT_FRAME_BYTES <= value <= LARGEST_FRAME_BYTES:
                raise ProtocolError(f"SETTINGS_MAX_FRAME_SIZE of {value}")
            self._max_frame_bytes = value
        else:
            return
        self._frames.clear()

    def acknowledge(self, frame_type: FrameType, payload: bytes) -> None:
        """Write the ACK of a SETTINGS or PING frame.

        Raises:
            ProtocolError: the server does not read what it asks for.
        """
        if len(self.out) > _MAX_BACKLOG_FRAMES:
            raise ProtocolError(f"more {frame_type.name} than the server reads ACKs")
        self.out.append(frame(frame_type, ACK, 0, payload))

    def replenish_windows(self, taken: int, streams: Mapping[int, Stream]) -> None:
        """Return to the server what it used of its windows.

        The window of a stream is as large as the connection's, which is never used up,
        so there is no need to look at a stream at any other time.
        """
        self.out.append(window_update(0, taken))
        for stream_id, stream in streams.items():
            if stream.unacknowledged_bytes:
                self.out.append(window_update(stream_id, stream.unacknowledged_bytes))
                stream.unacknowledged_bytes = 0

    def resume(self) -> None:
        """Write what the windows allow now, stream after stream in their order."""
        for _ in range(len(self._blocked)):
            if self._window <= 0:
                return
            stream = self._blocked.popleft()
            if not self._write_data(stream):
                self._blocked.append(stream)

    def _write_data(self, stream: Stream) -> bool:
        """Write what the windows allow of one stream; return whether it was all."""
        assert stream.unsent is not None
        while room := max(min(self._window, stream.window, self._max_frame_bytes), 0):
            part, rest = stream.unsent[:room], stream.unsent[room:]
            flags = 0 if rest else END_STREAM
            self.out.append(frame(FrameType.DATA, flags, stream.stream_id, bytes(part)))
            self._window -= len(part)
            stream.window -= len(part)
            if not rest:
                stream.unsent = None
                return True
            stream.unsent = rest
        return False

    def _write_headers(self, stream_id: int, field_block: bytes) -> None:
        frame_type, size = FrameType.HEADERS, self._max_frame_bytes
        while len(field_block) > size:
            part, field_block = field_block[:size], field_block[size:]
            self.out.append(frame(frame_type, 0, stream_id, part))
            frame_type = FrameType.CONTINUATION
        self.out.append(frame(frame_type, END_HEADERS, stream_id, field_block))
