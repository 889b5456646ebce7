"""The shape of an ordinary gRPC answer: HEADERS, one DATA frame, trailers, in a row."""

from __future__ import annotations

import struct

from triton_kit.loadtest.http.grpc_status import PREFIX_BYTES
from triton_kit.loadtest.http.http2_frames import END_HEADERS, END_STREAM, Kind

_DATA = Kind.DATA << 8
_FIRST_HEADERS = Kind.HEADERS << 8 | END_HEADERS
_LAST_HEADERS = _FIRST_HEADERS | END_STREAM


class OrdinaryAnswer:
    """Recognises whole answers that differ in stream and message from one another only.

    With the table of HPACK at size 0, a header block means the same wherever it
    comes. So an answer with the blocks of one that was read with care needs two looks
    into fixed places instead of three frames read one by one.

    Args:
        start: the header block before the message, known to say HTTP 200.
        end: the block of the trailers, known to say gRPC's OK.
    """

    def __init__(self, start: bytes, end: bytes) -> None:
        self.blocks = start, end
        # Head and block of HEADERS, head of DATA, prefix of the message.
        self._front = struct.Struct(f">5sL{len(start)}sBHHL?L")
        self._back = struct.Struct(f">5sL{len(end)}s")
        self._head = (len(start) << 16 | _FIRST_HEADERS).to_bytes(5, "big")
        self._tail = (len(end) << 16 | _LAST_HEADERS).to_bytes(5, "big")
        self._shortest = self._front.size + self._back.size

    def read(self, data: bytes, at: int) -> tuple[int, int, int] | None:
        """Return stream number, bytes of the DATA frame and end of the answer at `at`.

        None means that it is not all there, or another one.
        """
        left = len(data) - at - self._shortest
        if left < 0:
            return None
        head, number, block, high, low, kind, same, is_packed, size = (
            self._front.unpack_from(data, at)
        )
        framed = size + PREFIX_BYTES
        if (
            size > left
            or head != self._head
            or block != self.blocks[0]
            or high << 16 | low != framed
            or kind != _DATA
            or same != number
            or is_packed
        ):
            return None
        at += self._front.size + size
        if self._back.unpack_from(data, at) != (self._tail, number, self.blocks[1]):
            return None
        return number, framed, at + self._back.size
