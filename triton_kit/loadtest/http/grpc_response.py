"""What the bodies and trailers of gRPC answers amount to: one message, or many."""

from __future__ import annotations

from collections.abc import Callable

from triton_kit.loadtest.http.grpc_status import (
    PREFIX_BYTES,
    Status,
    message_of,
    message_text,
    status_name,
)
from triton_kit.loadtest.http.http2_frames import Meaning
from triton_kit.loadtest.http.http2_writer import UNKNOWN, Stream
from triton_kit.loadtest.request import Failure, OnReply

HTTP_OK = 200


class Answers:
    """Answers of one message each.

    Attributes:
        are_looked_at: whether every frame must come by here; the connection deals
            with the ordinary ones itself otherwise.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.are_looked_at = keep
        self._keep = keep

    def take(self, stream: Stream, payload: bytes, _woke_ns: int) -> None:
        """Count off a piece of an answer, and keep it if asked to."""
        if stream.missing != UNKNOWN:
            stream.missing -= len(payload)
            if self._keep:
                stream.parts.append(payload)
            return
        stream.parts.append(payload)
        answer = b"".join(stream.parts)
        if len(answer) >= PREFIX_BYTES:
            announced = int.from_bytes(answer[1:PREFIX_BYTES], "big")
            stream.missing = announced + PREFIX_BYTES - len(answer)
            if not self._keep:
                stream.parts.clear()

    def failure(self, stream: Stream, trailers: Meaning) -> Failure | None:
        """Judge an answer at its end."""
        if stream.http_status != HTTP_OK:
            return Failure(f"HTTP {stream.http_status}", trailers.grpc_message)
        if trailers.grpc_status != Status.OK:
            return _grpc_failure(trailers.grpc_status, trailers.grpc_message)
        return self._body_failure(stream)

    def _body_failure(self, stream: Stream) -> Failure | None:
        if stream.missing:
            return Failure("malformed answer", "not one whole gRPC message")
        return None


class Replies(Answers):
    """Answers of any number of messages: the sink is told of each.

    Attributes:
        on_reply: a sink's `replied`.
    """

    def __init__(
        self,
        on_reply: OnReply,
        error_in: Callable[[bytes], str],
        *,
        keep: bool = False,
    ) -> None:
        super().__init__(keep=keep)
        self.are_looked_at = True
        self.on_reply = on_reply
        self._error_in = error_in
        self._kept: dict[int, list[bytes]] = {}  # by slot

    def take(self, stream: Stream, payload: bytes, woke_ns: int) -> None:
        """Split off the messages that are complete; join the pieces of one once."""
        if stream.missing > len(payload):
            stream.missing -= len(payload)
            stream.parts.append(payload)
            return
        data = payload
        if stream.parts:
            data = b"".join([*stream.parts, payload])
            stream.missing = UNKNOWN
        at, size = 0, len(data)
        while size - at >= PREFIX_BYTES:
            announced = int.from_bytes(data[at + 1 : at + PREFIX_BYTES], "big")
            end = at + PREFIX_BYTES + announced
            if end > size:
                stream.missing = end - size
                break
            self._take_message(stream, data[at:end], woke_ns)
            at = end
        stream.parts = [data[at:]] if at < size else []

    def _take_message(self, stream: Stream, message: bytes, woke_ns: int) -> None:
        if not stream.reply_ns:
            stream.first_ns = woke_ns
            self._kept.pop(stream.slot, None)
        if self._keep:
            self._kept.setdefault(stream.slot, []).append(message)
        if not stream.error:
            try:
                stream.error = self._error_in(message_of(message))
            except ValueError as error:
                stream.error = f"unreadable: {error}"
        self.on_reply(stream.slot, stream.reply_ns, woke_ns)
        stream.reply_ns = woke_ns

    def _body_failure(self, stream: Stream) -> Failure | None:
        if stream.error:
            return Failure("stream error", stream.error)
        if stream.parts:
            return Failure("malformed answer", "half a gRPC message")
        if self._keep and stream.reply_ns:
            stream.parts = self._kept.pop(stream.slot)
        return None


def _grpc_failure(status: int | None, message: str) -> Failure:
    if status is None:
        return Failure("malformed answer", "no gRPC status")
    return Failure(f"gRPC {status_name(status)}", message_text(message))
