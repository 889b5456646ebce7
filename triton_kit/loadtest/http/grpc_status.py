"""How a gRPC call ended: status codes, messages and the framing of messages."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from urllib.parse import unquote

from triton_kit.loadtest.http.compression import expanded

PREFIX = struct.Struct(">BL")  # compressed or not, length
PREFIX_BYTES = PREFIX.size
_COMPRESSED = b"\x01"


class Status(IntEnum):
    """The canonical codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


def status_name(code: int) -> str:
    """Name a status, known or not."""
    try:
        return Status(code).name
    except ValueError:
        return f"status {code}"


def message_text(value: str) -> str:
    """Undo the percent-encoding of grpc-message."""
    return unquote(value, errors="replace")


def framed(message: bytes, *, is_compressed: bool = False) -> bytes:
    """Put gRPC's prefix before a message."""
    return PREFIX.pack(is_compressed, len(message)) + message


def message_of(response: bytes) -> bytes:
    """Return the one message of a response, expanded where it came compressed.

    Raises:
        ValueError: it is compressed and cannot be read.
    """
    message = response[PREFIX_BYTES:]
    return expanded(message) if response[:1] == _COMPRESSED else message


def messages_of(responses: bytes) -> Iterator[bytes]:
    """Yield the messages of a stream, each as `message_of` does.

    Raises:
        ValueError: the last one is not whole, or one cannot be expanded.
    """
    at = 0
    while at < len(responses):
        size = int.from_bytes(responses[at + 1 : at + PREFIX_BYTES], "big")
        end = at + PREFIX_BYTES + size
        if end > len(responses):
            raise ValueError("half a gRPC message")
        yield message_of(responses[at:end])
        at = end
