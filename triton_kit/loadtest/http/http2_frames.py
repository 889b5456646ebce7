"""HTTP/2 frames (RFC 9113), and field blocks in HPACK as a load needs (RFC 7541)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import hpack

from triton_kit.loadtest.request import Failure, HeaderList

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD = struct.Struct(">HBHL")  # length in 2 + 1 bytes, type and flags, stream id
FRAME_HEAD_BYTES = FRAME_HEAD.size

DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
DEFAULT_FRAME_BYTES = 16_384
LARGEST_FRAME_BYTES = 2**24 - 1
LARGEST_STREAM_ID = 2**31 - 1
LARGEST_FIELD_BLOCK_BYTES = 64 * 1024

_OUR_FRAME_BYTES = 256 * 1024
_LARGEST_CACHE = 256
_LARGEST_DETAIL_BYTES = 2048


class FrameType(IntEnum):
    """Frame types."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """Settings that a SETTINGS frame may carry."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


class ErrorCode(IntEnum):
    """Error codes of RST_STREAM and GOAWAY."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class ProtocolError(Exception):
    """The server does not keep to HTTP/2; the connection cannot go on."""


def frame(frame_type: FrameType, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Write one frame."""
    high, low = divmod(len(payload), 256)
    return FRAME_HEAD.pack(high, low, frame_type << 8 | flags, stream_id) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """Write a SETTINGS frame."""
    payload = b"".join(struct.pack(">HL", *pair) for pair in values.items())
    return frame(FrameType.SETTINGS, 0, 0, payload)


def opening() -> tuple[bytes, ...]:
    """Return what a client begins a connection with: the largest windows there are."""
    ours = {
        Setting.HEADER_TABLE_SIZE: 0,
        Setting.ENABLE_PUSH: 0,
        Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW,
        Setting.MAX_FRAME_SIZE: _OUR_FRAME_BYTES,
    }
    return PREFACE, settings(ours), window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW)


def window_update(stream_id: int, increment: int) -> bytes:
    """Write a WINDOW_UPDATE frame; stream id 0 is the connection."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def without_padding(payload: bytes) -> bytes:
    """Remove the padding of a frame that has the PADDED flag."""
    if not payload or payload[0] >= len(payload):
        raise ProtocolError("more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def check_size(what: str, payload: bytes, size: int) -> None:
    """Refuse a frame whose size its type does not allow."""
    if len(payload) != size:
        raise ProtocolError(f"a {what} of {len(payload)} bytes")


def check_first_frame(data: bytes) -> None:
    """Refuse a server that does not begin with SETTINGS."""
    if len(data) > 3 and data[3] != FrameType.SETTINGS:
        raise ProtocolError(f"not HTTP/2: the server began with {data[:24]!r}")


def check_frame_size(size: int) -> None:
    """Refuse a frame that is larger than SETTINGS_MAX_FRAME_SIZE allows."""
    if size > _OUR_FRAME_BYTES:
        raise ProtocolError(f"a frame of {size} bytes")


def parse_goaway(payload: bytes) -> tuple[int, Failure]:
    """Return the last stream id of GOAWAY, and what it means for the streams above."""
    if len(payload) < 8:
        raise ProtocolError("malformed GOAWAY")
    last, code = struct.unpack_from(">LL", payload)
    detail = payload[8 : 8 + _LARGEST_DETAIL_BYTES].decode(errors="replace")
    failure = Failure(f"GOAWAY {error_code_name(code)}", detail)
    return last & LARGEST_STREAM_ID, failure


def error_code_name(code: int) -> str:
    """Name an error code; RFC 9113 lets a client treat all unknown ones alike."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return "with an unknown error code"


class FieldBlockEncoder:
    """Encodes the header fields of requests; a list that was sent before is a look-up.

    The first time, a list may enter the server's dynamic table; from then on it is a
    few bytes of indices. When another list enters the table, those indices move, and
    the encoder forgets every field block.
    """

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._known: dict[HeaderList, bytes] = {}

    def resize(self, table_bytes: int) -> None:
        """Follow the server's SETTINGS_HEADER_TABLE_SIZE."""
        # RFC 7541 lets an encoder use less than it may; 4096 suffices.
        self._encoder.header_table_size = min(table_bytes, 4096)
        self._known.clear()

    def encode(self, headers: HeaderList) -> tuple[bytes, bool]:
        """Return the field block to send now, and whether it can be sent again.

        Where it cannot, it has just entered the server's table, and every field block
        that was returned before is out of date.
        """
        known = self._known.get(headers)
        if known is not None:
            return known, True
        field_block: bytes = self._encoder.encode(headers.fields)
        again: bytes = self._encoder.encode(headers.fields)
        is_repeatable = again == field_block
        if not is_repeatable or len(self._known) >= _LARGEST_CACHE:
            self._known.clear()
        self._known[headers] = again
        return field_block, is_repeatable


@dataclass(slots=True)
class FieldBlockPart:
    """The beginning of a field block, which CONTINUATION frames complete."""

    stream_id: int
    flags: int
    block: bytes

    def add(self, payload: bytes) -> None:
        """Append the payload of a CONTINUATION frame."""
        self.block += payload
        if len(self.block) > LARGEST_FIELD_BLOCK_BYTES:
            raise ProtocolError(
                f"a field block longer than {LARGEST_FIELD_BLOCK_BYTES} bytes"
            )


@dataclass(frozen=True, slots=True)
class ResponseFields:
    """The fields of a response that matter to a call; None where they are absent."""

    http_status: int | None
    grpc_status: int | None
    grpc_message: str


class FieldBlockDecoder:
    """Decodes the field blocks of responses, each distinct one once.

    The client announces a dynamic table of size 0, so a field block means the same
    whenever it comes, and a dictionary of its bytes is a sound decoder.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, ResponseFields] = {}

    def decode(self, field_block: bytes) -> ResponseFields:
        """Return the fields of a complete field block.

        Raises:
            ProtocolError: it is not one.
        """
        known = self._known.get(field_block)
        if known is None:
            if len(self._known) >= _LARGEST_CACHE:
                self._known.clear()
            known = self._known[field_block] = _decoded(field_block)
        return known


def _decoded(field_block: bytes) -> ResponseFields:
    decoder = hpack.Decoder(LARGEST_FIELD_BLOCK_BYTES)
    decoder.max_allowed_table_size = 0
    decoder.header_table_size = 0
    try:
        fields = {str(name): str(value) for name, value in decoder.decode(field_block)}
        http, grpc = fields.get(":status"), fields.get("grpc-status")
        return ResponseFields(
            None if http is None else int(http),
            None if grpc is None else int(grpc),
            fields.get("grpc-message", ""),
        )
    except (hpack.HPACKError, ValueError) as error:
        raise ProtocolError(f"a field block that HPACK cannot read: {error}") from error
