"""Protobuf wire format, read where it lies: a file of gigabytes costs what is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are no protobuf message of the expected kind."""


class Field(NamedTuple):
    """One field of a message: `view[begin:end]` is all of it, its tag included.

    `value` is a number, or the bytes inside; those begin at `inside`.
    """

    number: int
    value: int | memoryview
    begin: int
    inside: int
    end: int


def fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field of a message: its number, and a varint or the bytes inside.

    Raises:
        WireError: the bytes are no message.
    """
    for field in spans(view):
        yield field.number, field.value


def spans(view: memoryview) -> Iterator[Field]:
    """Yield each field of a message with its place.

    Raises:
        WireError: the bytes are no message.
    """
    at, end = 0, len(view)
    while at < end:
        begin = at
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise WireError(f"field number 0 at byte {at}")
        if wire == VARINT:
            value, after = _varint(view, at)
            yield Field(number, value, begin, at, after)
            at = after
            continue
        if wire == BYTES:
            size, at = _varint(view, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise WireError(f"wire type {wire} at byte {at}")
        if at + size > end:
            raise WireError(f"field {number} ends {at + size - end} bytes too late")
        yield Field(number, view[at : at + size], begin, at, at + size)
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value, shift, end = 0, 0, len(view)
    while at < end and shift < 64:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise WireError(f"a number without an end at byte {at}")


def as_int(value: int | memoryview | bytes) -> int:
    """Return a field that is a number."""
    if isinstance(value, int):
        return value
    raise WireError("bytes where a number belongs")


def as_bytes(value: int | memoryview) -> memoryview:
    """Return a field that is a message or bytes."""
    if isinstance(value, int):
        raise WireError("a number where a message belongs")
    return value


def as_text(value: int | memoryview | bytes) -> str:
    """Return a field that is a text."""
    if isinstance(value, int):
        raise WireError("a number where a text belongs")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise WireError("a text that is not UTF-8") from error


def varint(value: int) -> bytes:
    """Return a number that is not negative as protobuf writes it."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def header(number: int, size: int) -> bytes:
    """Return what stands before a field of so many bytes."""
    return varint(number << 3 | BYTES) + varint(size)
