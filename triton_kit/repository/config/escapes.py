"""Backslashes in protobuf's string literals."""

from __future__ import annotations

import re

_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_ESCAPED = re.compile(
    r"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))",
    re.DOTALL,
)


def unescape(text: str) -> str:
    """Resolve the escapes of a literal; in and out is latin-1, a byte a character."""
    return _ESCAPED.sub(_resolved, text)


def _resolved(found: re.Match[str]) -> str:
    octal, hexadecimal, short, long, simple = found.groups()
    if octal:
        return chr(int(octal, 8) & 0xFF)
    if hexadecimal:
        return chr(int(hexadecimal, 16))
    if short or long:
        point = int(short or long, 16)
        # Lone surrogates pass: they fail later, as text that is no UTF-8.
        return chr(point).encode("utf-8", "surrogatepass").decode("latin-1")
    return _SIMPLE.get(simple, simple)
