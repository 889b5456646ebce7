"""HTTP/2 frames as bytes (RFC 9113), and the two header codings that a load needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import hpack

from triton_kit.loadtest.request import HeaderList

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD = struct.Struct(">HBHL")  # length in 2 + 1 bytes, kind and flags, stream
FRAME_HEAD_BYTES = FRAME_HEAD.size

DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 2**31 - 1
DEFAULT_FRAME_BYTES = 16_384
LARGEST_FRAME_BYTES = 2**24 - 1
LARGEST_STREAM_NUMBER = 2**31 - 1
LARGEST_BLOCK_BYTES = 64 * 1024

_LARGEST_CACHE = 256


class Kind(IntEnum):
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
    """Parameters of a SETTINGS frame."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


class Code(IntEnum):
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


class ProtocolBrokenError(Exception):
    """The peer broke the rules of HTTP/2; the connection cannot go on."""


def frame(kind: Kind, flags: int, stream: int, payload: bytes) -> bytes:
    """Write one frame."""
    high, low = divmod(len(payload), 256)
    return FRAME_HEAD.pack(high, low, kind << 8 | flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """Write a SETTINGS frame."""
    payload = b"".join(struct.pack(">HL", *pair) for pair in values.items())
    return frame(Kind.SETTINGS, 0, 0, payload)


def window_update(stream: int, more: int) -> bytes:
    """Write a WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def unpadded(payload: bytes) -> bytes:
    """Take the padding off a frame that has some."""
    if not payload or payload[0] >= len(payload):
        raise ProtocolBrokenError("more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def check_size(what: str, payload: bytes, size: int) -> None:
    """Refuse a frame whose size its kind does not allow."""
    if len(payload) != size:
        raise ProtocolBrokenError(f"a {what} of {len(payload)} bytes")


def code_name(code: int) -> str:
    """Name an error code, known or not."""
    try:
        return Code(code).name
    except ValueError:
        return f"code {code}"


class HeaderEncoder:
    """Encodes request headers; a list that was sent before is a look-up.

    The first time, a list may enter the peer's dynamic table; from then on it is a
    few bytes of indices. Whenever another list enters, those indices move, and what
    was remembered is forgotten.
    """

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._known: dict[HeaderList, bytes] = {}

    def resize(self, table_bytes: int) -> None:
        """Follow the peer's SETTINGS_HEADER_TABLE_SIZE."""
        # RFC 7541 lets us use less than we may; 4096 is what anyone needs.
        self._encoder.header_table_size = min(table_bytes, 4096)
        self._known.clear()

    def encode(self, headers: HeaderList) -> tuple[bytes, bool]:
        """Return the block to send now, and whether it can be sent again as it is.

        Where it cannot, it has just entered the peer's table, and every block that
        was returned before is out of date.
        """
        known = self._known.get(headers)
        if known is not None:
            return known, True
        block: bytes = self._encoder.encode(headers.fields)
        again: bytes = self._encoder.encode(headers.fields)
        is_settled = again == block
        if not is_settled or len(self._known) >= _LARGEST_CACHE:
            self._known.clear()
        self._known[headers] = again
        return block, is_settled


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a header block of an answer says; None where it does not say it."""

    http_status: int | None
    grpc_status: int | None
    grpc_message: str


class HeaderDecoder:
    """Reads the header blocks of answers, each distinct one once.

    We ask for a dynamic table of size 0, so a block means the same whenever it
    comes, and a dictionary of its bytes is a sound decoder.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Meaning] = {}

    def decode(self, block: bytes) -> Meaning:
        """Return what a complete header block says.

        Raises:
            ProtocolBrokenError: it is not one.
        """
        known = self._known.get(block)
        if known is None:
            if len(self._known) >= _LARGEST_CACHE:
                self._known.clear()
            known = self._known[block] = _meaning(block)
        return known


def _meaning(block: bytes) -> Meaning:
    decoder = hpack.Decoder(LARGEST_BLOCK_BYTES)
    decoder.max_allowed_table_size = 0
    decoder.header_table_size = 0
    try:
        fields = {str(name): str(value) for name, value in decoder.decode(block)}
        http, grpc = fields.get(":status"), fields.get("grpc-status")
        return Meaning(
            None if http is None else int(http),
            None if grpc is None else int(grpc),
            fields.get("grpc-message", ""),
        )
    except (hpack.HPACKError, ValueError) as error:
        raise ProtocolBrokenError(f"unreadable headers: {error}") from error
