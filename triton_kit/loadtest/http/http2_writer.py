"""The sending half of an HTTP/2 connection: frames, and the windows they must fit."""

from __future__ import annotations

from collections import deque

from triton_kit.loadtest.http.http2_frames import (
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW,
    Code,
    HeaderEncoder,
    Kind,
    ProtocolBrokenError,
    frame,
)
from triton_kit.loadtest.request import Request

# The kind and flags of a frame, below its length in one number of five bytes.
_HEADERS_WHOLE = Kind.HEADERS << 8 | END_HEADERS
_DATA_LAST = Kind.DATA << 8 | END_STREAM


UNKNOWN = -(2**60)


class Stream:
    """One call. The object lives as long as its slot and is used again and again.

    Attributes:
        number: of the stream; 0 at rest, -1 while the call waits for its turn.
        sent_ns: when its first bytes left.
        first_ns: when its first bytes came back; 0 before.
        http_status: of the answer; 0 before.
        head: the header block that it began with.
        taken: bytes that the peer has sent and may not send again yet.
        missing: bytes of the answer still to come; UNKNOWN before it says so.
        parts: the answer so far, where it is kept or its prefix is incomplete.
        reply_ns: when the last message of a stream of them came.
        error: what the first message that is an error says.
        window: how much of the request the peer would take on this stream.
        unsent: the part of the request that waits for a window.
    """

    __slots__ = (
        "error",
        "first_ns",
        "head",
        "http_status",
        "missing",
        "number",
        "parts",
        "reply_ns",
        "sent_ns",
        "slot",
        "taken",
        "unsent",
        "window",
    )

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.rest()

    def rest(self) -> None:
        """Forget the call. One whose answer was read as a whole has left no traces."""
        self.number = self.sent_ns = self.first_ns = self.http_status = self.window = 0
        self.reply_ns = self.taken = 0
        self.error = ""
        self.head = b""
        self.missing = UNKNOWN
        self.parts: list[bytes] = []
        self.unsent: memoryview | None = None


class Sender:
    """Writes requests as frames into `out`; what does not fit the windows waits."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self._encoder = HeaderEncoder()
        # Requests that fit one frame each, but for the number of their stream.
        self._frames: dict[Request, tuple[bytes, bytes, bytes]] = {}
        self._window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._frame_bytes = DEFAULT_FRAME_BYTES
        self._blocked: deque[Stream] = deque()

    def request(self, stream: Stream, request: Request) -> None:
        """Write a whole request, or what of it the windows allow now."""
        frames = self._frames.get(request)
        size = len(request.payload)
        if frames is None or size > self._window:
            self._request_slowly(stream, request)
            return
        self._window -= size
        number = stream.number.to_bytes(4, "big")
        head, middle, body = frames
        self.out += (head, number, middle, number, body)

    def _request_slowly(self, stream: Stream, request: Request) -> None:
        assert request.headers is not None
        block, is_settled = self._encoder.encode(request.headers)
        if is_settled:
            self._remember(request, block)
        else:
            self._frames.clear()  # their indices have moved
        self._write_headers(stream.number, block)
        stream.window = self._initial_window
        stream.unsent = memoryview(request.payload)
        if not self._write_data(stream):
            self._blocked.append(stream)

    def _remember(self, request: Request, block: bytes) -> None:
        """Frame a request but for its stream's number, if its parts take one frame."""
        size = len(request.payload)
        if max(len(block), size) > self._frame_bytes or size > self._initial_window:
            return
        head = (len(block) << 16 | _HEADERS_WHOLE).to_bytes(5, "big")
        data = (size << 16 | _DATA_LAST).to_bytes(5, "big")
        self._frames[request] = head, block + data, request.payload

    def forget(self, stream: Stream) -> bool:
        """Write no more of a stream; return whether it was not all written yet."""
        if stream.unsent is None:
            return False
        stream.unsent = None
        self._blocked.remove(stream)
        return True

    def reset(self, number: int, code: Code) -> None:
        """Write RST_STREAM."""
        self.out.append(frame(Kind.RST_STREAM, 0, number, code.to_bytes(4, "big")))

    def widen(self, stream: Stream | None, more: int) -> None:
        """Follow a WINDOW_UPDATE, of the connection where `stream` is None.

        Raises:
            ProtocolBrokenError: the window outgrows what HTTP/2 allows.
        """
        if stream is not None:
            stream.window += more
        else:
            self._window += more
            if self._window > LARGEST_WINDOW or not more:
                raise ProtocolBrokenError(f"the window grew by {more}")
        self.resume()

    def set_table_bytes(self, value: int) -> None:
        """Follow SETTINGS_HEADER_TABLE_SIZE."""
        self._encoder.resize(value)
        self._frames.clear()

    def set_initial_window(self, value: int) -> None:
        """Follow SETTINGS_INITIAL_WINDOW_SIZE; streams under way shift with it."""
        if value > LARGEST_WINDOW:
            raise ProtocolBrokenError(f"an initial window of {value}")
        for stream in self._blocked:
            stream.window += value - self._initial_window
        self._initial_window = value
        self._frames.clear()

    def set_frame_bytes(self, value: int) -> None:
        """Follow SETTINGS_MAX_FRAME_SIZE."""
        if not DEFAULT_FRAME_BYTES <= value <= LARGEST_FRAME_BYTES:
            raise ProtocolBrokenError(f"a largest frame of {value}")
        self._frame_bytes = value
        self._frames.clear()

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
        while room := max(min(self._window, stream.window, self._frame_bytes), 0):
            part, rest = stream.unsent[:room], stream.unsent[room:]
            flags = 0 if rest else END_STREAM
            self.out.append(frame(Kind.DATA, flags, stream.number, bytes(part)))
            self._window -= len(part)
            stream.window -= len(part)
            if not rest:
                stream.unsent = None
                return True
            stream.unsent = rest
        return False

    def _write_headers(self, number: int, block: bytes) -> None:
        kind = Kind.HEADERS
        while len(block) > self._frame_bytes:
            part, block = block[: self._frame_bytes], block[self._frame_bytes :]
            self.out.append(frame(kind, 0, number, part))
            kind = Kind.CONTINUATION
        self.out.append(frame(kind, END_HEADERS, number, block))
