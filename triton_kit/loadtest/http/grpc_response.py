"""What the DATA frames and trailers of a gRPC response amount to."""

from __future__ import annotations

from collections.abc import Callable

from triton_kit.loadtest.http.compression import LARGEST_RESPONSE_BYTES
from triton_kit.loadtest.http.grpc_status import (
    PREFIX_BYTES,
    Status,
    message_of,
    message_text,
    status_name,
)
from triton_kit.loadtest.http.http2_frames import ResponseFields
from triton_kit.loadtest.http.http2_request_writer import UNKNOWN, Stream
from triton_kit.loadtest.request import Failure, OnResponse

HTTP_OK = 200
# The body of an HTTP error is kept up to this size, to show how it begins.
_LARGEST_DETAIL_BYTES = 2048
_SHOWN_BYTES = 40


class UnaryResponses:
    """Reads responses of one message each.

    Attributes:
        need_every_frame: whether every frame must be read here; the connection ends
            ordinary responses by itself otherwise.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.need_every_frame = keep
        self._keep = keep

    def take(self, stream: Stream, payload: bytes, woke_ns: int) -> None:
        """Read one DATA frame.

        Raises:
            ValueError: it is not of a gRPC response, or the message is too large.
        """
        if stream.http_status != HTTP_OK:
            stream.body += payload[: _LARGEST_DETAIL_BYTES - len(stream.body)]
            return
        self._take(stream, payload, woke_ns)

    def _take(self, stream: Stream, payload: bytes, _woke_ns: int) -> None:
        """Count off a piece of the message, and keep it where that is asked for."""
        if stream.remaining_bytes != UNKNOWN:
            stream.remaining_bytes -= len(payload)
            if self._keep:
                stream.body += payload
            return
        body = stream.body
        body += payload
        if len(body) >= PREFIX_BYTES:
            size = _message_bytes(body, 0)
            if self._keep:
                _check_size(size)
            stream.remaining_bytes = size + PREFIX_BYTES - len(body)
            if not self._keep:
                stream.body = bytearray()

    def failure(
        self, stream: Stream, trailers: ResponseFields | None
    ) -> Failure | None:
        """Judge a response at its end; `trailers` is None where DATA ended it."""
        if stream.http_status not in (0, HTTP_OK):
            text = stream.body.decode(errors="replace").strip()
            message = trailers.grpc_message if trailers else ""
            return Failure(f"HTTP {stream.http_status}", text or message)
        if trailers is None or not stream.http_status:
            return Failure("malformed response", "no gRPC trailers")
        if trailers.grpc_status != Status.OK:
            return _grpc_failure(trailers.grpc_status, trailers.grpc_message)
        return self._body_failure(stream)

    def _body_failure(self, stream: Stream) -> Failure | None:
        if stream.remaining_bytes:
            return Failure("malformed response", "not one whole gRPC message")
        return None


class StreamingResponses(UnaryResponses):
    """Reads responses of any number of messages: the sink is told of each.

    Attributes:
        on_response: a sink's `responded`.
    """

    def __init__(
        self,
        on_response: OnResponse,
        error_in: Callable[[bytes], str],
        *,
        keep: bool = False,
    ) -> None:
        super().__init__(keep=keep)
        self.need_every_frame = True
        self.on_response = on_response
        self._error_in = error_in
        self._kept: dict[int, bytearray] = {}  # by slot

    def _take(self, stream: Stream, payload: bytes, woke_ns: int) -> None:
        """Split off the messages that are complete; join the pieces of one once."""
        if stream.remaining_bytes > len(payload):
            stream.remaining_bytes -= len(payload)
            stream.body += payload
            return
        data = payload
        if stream.body:
            stream.body += payload
            data = bytes(stream.body)
            stream.remaining_bytes = UNKNOWN
        at, size = 0, len(data)
        while size - at >= PREFIX_BYTES:
            announced = _message_bytes(data, at)
            end = at + PREFIX_BYTES + announced
            if end > size:
                _check_size(announced)
                stream.remaining_bytes = end - size
                break
            self._take_message(stream, data[at:end], woke_ns)
            at = end
        if at < size:
            stream.body = bytearray(data[at:])
        elif stream.body:
            stream.body = bytearray()

    def _take_message(self, stream: Stream, message: bytes, woke_ns: int) -> None:
        if not stream.last_message_ns:
            stream.first_ns = woke_ns
            self._kept.pop(stream.slot, None)
        if self._keep:
            kept = self._kept.setdefault(stream.slot, bytearray())
            _check_size(len(kept) + len(message))
            kept += message
        if not stream.error:
            try:
                stream.error = self._error_in(message_of(message))
            except ValueError as error:
                stream.error = f"unreadable: {error}"
        self.on_response(stream.slot, stream.last_message_ns, woke_ns)
        stream.last_message_ns = woke_ns

    def _body_failure(self, stream: Stream) -> Failure | None:
        if stream.error:
            return Failure("stream error", stream.error)
        if stream.body:
            return Failure("malformed response", "half a gRPC message")
        if self._keep and stream.last_message_ns:
            stream.body = self._kept.pop(stream.slot)
        return None


def _message_bytes(data: bytes | bytearray, at: int) -> int:
    """Return the length of the message whose prefix is at `at`."""
    if data[at] > 1:  # compressed or not; nothing else
        shown = bytes(data[at : at + _SHOWN_BYTES])
        raise ValueError(f"not a gRPC message: {shown!r}")
    return int.from_bytes(data[at + 1 : at + PREFIX_BYTES], "big")


def _check_size(size: int) -> None:
    if size > LARGEST_RESPONSE_BYTES:
        raise ValueError(
            f"a response of {size} bytes; one that is read may have "
            f"{LARGEST_RESPONSE_BYTES}"
        )


def _grpc_failure(status: int | None, message: str) -> Failure:
    if status is None:
        return Failure("malformed response", "no gRPC status")
    return Failure(f"gRPC {status_name(status)}", message_text(message))
