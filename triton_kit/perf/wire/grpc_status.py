"""How a gRPC call ended: status codes, messages and the framing of messages."""

from __future__ import annotations

import struct
from enum import IntEnum
from urllib.parse import unquote

PREFIX = struct.Struct(">BL")  # compressed or not, length
PREFIX_BYTES = PREFIX.size


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
