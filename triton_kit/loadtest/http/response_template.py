"""The shape of an ordinary gRPC response: HEADERS, one DATA frame, trailers."""

from __future__ import annotations

import struct

from triton_kit.loadtest.http.grpc_status import PREFIX_BYTES
from triton_kit.loadtest.http.http2_frames import END_HEADERS, END_STREAM, FrameType

_DATA = FrameType.DATA << 8
_HEADERS = FrameType.HEADERS << 8 | END_HEADERS
_TRAILERS = _HEADERS | END_STREAM


class ResponseTemplate:
    """Recognises responses that differ only in stream id and message.

    With a header table of size 0, equal field blocks mean the same. So a response with
    the field blocks of one that was read with care needs two comparisons at fixed
    offsets instead of three frames read one by one.

    Args:
        headers: the field block before the message, known to mean HTTP 200.
        trailers: the field block after it, known to mean gRPC's OK.
    """

    def __init__(self, headers: bytes, trailers: bytes) -> None:
        self.blocks = headers, trailers
        # Frame header and field block of HEADERS, frame header of DATA, prefix of the
        # message.
        self._front = struct.Struct(f">5sL{len(headers)}sBHHL?L")
        self._back = struct.Struct(f">5sL{len(trailers)}s")
        self._front_start = (len(headers) << 16 | _HEADERS).to_bytes(5, "big")
        self._back_start = (len(trailers) << 16 | _TRAILERS).to_bytes(5, "big")
        self._shortest = self._front.size + self._back.size

    def read(self, data: bytes, at: int) -> tuple[int, int, int] | None:
        """Return stream id, bytes of the DATA frame and end of the response at `at`.

        None means that the response is incomplete, or another one.
        """
        left = len(data) - at - self._shortest
        if left < 0:
            return None
        start, stream_id, block, high, low, type_and_flags, same, is_packed, size = (
            self._front.unpack_from(data, at)
        )
        framed = size + PREFIX_BYTES
        if (
            size > left
            or start != self._front_start
            or block != self.blocks[0]
            or high << 16 | low != framed
            or type_and_flags != _DATA
            or same != stream_id
            or is_packed
        ):
            return None
        at += self._front.size + size
        back = self._back.unpack_from(data, at)
        if back != (self._back_start, stream_id, self.blocks[1]):
            return None
        return stream_id, framed, at + self._back.size
