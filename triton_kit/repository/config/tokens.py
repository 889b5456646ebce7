"""The words of protobuf's text format, split as the server's own parser splits them.

The text is latin-1: one character per byte, because the server counts bytes. Errors
are those of protobuf's tokenizer, word for word; like there, they do not stop it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from triton_kit.repository.config.escapes import unescape

END, IDENTIFIER, INTEGER, FLOAT, STRING, SYMBOL = range(6)
_TAB_WIDTH = 8

# What nearly all of a config is made of. Anything else takes the slow road below.
_USUAL = re.compile(
    r"(?:[ \t\n\r\v\f]++|\#[^\n]*+)*+"
    r"(?:([A-Za-z_][A-Za-z0-9_]*+)"
    r"|((?:0|[1-9][0-9]*+)(?![0-9A-Za-z_.]))"
    r"""|("[^"\\\n\0]*+"|'[^'\\\n\0]*+')"""
    r"|([\]\[{}:,;<>-])"
    r"|)"
)
_TYPES = (END, IDENTIFIER, INTEGER, STRING, SYMBOL)
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f]+")
_STRING_PART = re.compile(r"[^\"'\\\n\0]+")
_ESCAPE = re.compile(r"[abfnrtv\\?'\"0-7]")
_HEX_ESCAPES = (
    (re.compile(r"[xX]"), r"[0-9A-Fa-f]", "Expected hex digits for escape sequence."),
    (
        re.compile(r"u"),
        r"[0-9A-Fa-f]{4}",
        r"Expected four hex digits for \u escape sequence.",
    ),
    (
        re.compile(r"U"),
        r"00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4}",
        r"Expected eight hex digits up to 10ffff for \U escape sequence",
    ),
)
_DECIMAL = re.compile(r"[0-9]*(\.[0-9]*)?")
_EXPONENT = re.compile(r"[eE][-+]?")
_DIGITS = re.compile(r"[0-9]+")
_HEX = re.compile(r"0[xX]([0-9A-Fa-f]*)")
_OCTAL = re.compile(r"0[0-7]*+(?=[0-9])|0[0-7]++")


@dataclass(frozen=True, slots=True)
class TokenError:
    """What the tokenizer objects to, and where.

    Attributes:
        before: the index of the token during whose reading it was seen.
        offset: bytes from the start of the text.
        message: protobuf's own words.
    """

    before: int
    offset: int
    message: str


@dataclass(slots=True)
class Tokens:
    """A text as three columns: type, text and offset of each token; the last is END."""

    source: str
    types: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    errors: list[TokenError] = field(default_factory=list)

    def add(self, kind: int, start: int, end: int) -> None:
        """Append the token that lies between two offsets."""
        self.types.append(kind)
        self.texts.append(self.source[start:end])
        self.offsets.append(start)

    def complain(self, offset: int, message: str) -> None:
        """Note an error in the token that is being read."""
        self.errors.append(TokenError(len(self.types), offset, message))


class Lines:
    """Where an offset is, for people and for the server."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts = [0]
        self._starts += [at.end() for at in re.finditer("\n", source)]

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column as an editor counts: from 1, in characters."""
        row = bisect_right(self._starts, offset) - 1
        before = self._source[self._starts[row] : offset].encode("latin-1")
        return row + 1, len(before.decode(errors="replace")) + 1

    def server_place(self, offset: int) -> tuple[int, int]:
        """Return line and column as the server counts: bytes, and tabs of eight."""
        row = bisect_right(self._starts, offset) - 1
        column = 0
        for char in self._source[self._starts[row] : offset]:
            column += _TAB_WIDTH - column % _TAB_WIDTH if char == "\t" else 1
        return row + 1, column + 1

    def line(self, number: int) -> str:
        """Return the text of one line, counted from 1."""
        start = self._starts[number - 1]
        text = self._source[start:].split("\n", 1)[0]
        return text.encode("latin-1").decode(errors="replace").strip("\r")


def tokenize(source: str) -> Tokens:
    """Split a text, one character per byte, into tokens."""
    tokens = Tokens(source)
    types, texts, offsets = tokens.types, tokens.texts, tokens.offsets
    match, at, size = _USUAL.match, 0, len(source)
    while True:
        found = match(source, at)
        assert found is not None  # the pattern matches nothing, too
        kind = found.lastindex
        at = found.end()
        if kind is not None:
            types.append(_TYPES[kind])
            texts.append(found[kind])
            offsets.append(found.start(kind))
        elif at < size:
            at = _unusual(tokens, at)
        else:
            tokens.add(END, size, size)
            return tokens


def string_value(text: str) -> str:
    """Return what a string token means, quotes and escapes resolved; still latin-1."""
    inner = text[1:-1] if len(text) > 1 and text[-1] == text[0] else text[1:]
    return unescape(inner) if "\\" in inner else inner


def _unusual(tokens: Tokens, at: int) -> int:
    """Read one token or run of control characters that is rare; return its end."""
    source = tokens.source
    control = _CONTROL.match(source, at)
    if control:
        tokens.complain(at, "Invalid control characters encountered in text.")
        return control.end()
    char = source[at]
    if char in "\"'":
        end = _string(tokens, at)
        tokens.add(STRING, at, end)
        return end
    follower = source[at + 1 : at + 2]
    if char.isdigit() and char.isascii():
        return _number(tokens, at, at)
    if char == "." and follower.isdigit() and follower.isascii():
        if _ends_in_identifier(tokens, at):
            message = "Need space between identifier and decimal point."
            tokens.complain(at, message)
        return _number(tokens, at, at)
    if char >= "\x80":
        tokens.complain(at, f"Interpreting non ascii codepoint {ord(char)}.")
    tokens.add(SYMBOL, at, at + 1)
    return at + 1


def _ends_in_identifier(tokens: Tokens, at: int) -> bool:
    if not tokens.types or tokens.types[-1] != IDENTIFIER:
        return False
    return tokens.offsets[-1] + len(tokens.texts[-1]) == at


def _string(tokens: Tokens, start: int) -> int:
    """Read a string from its opening quote on; return the offset after it."""
    source, size = tokens.source, len(tokens.source)
    at, quote = start + 1, source[start]
    while True:
        part = _STRING_PART.match(source, at)
        at = part.end() if part else at
        char = source[at] if at < size else "\0"
        if char == "\0":
            tokens.complain(at, "Unexpected end of string.")
            return at
        if char == "\n":
            tokens.complain(at, "String literals cannot cross line boundaries.")
            return at
        at += 1
        if char == quote:
            return at
        if char == "\\":
            at = _escape(tokens, at)


def _escape(tokens: Tokens, at: int) -> int:
    """Read what follows a backslash; return the offset after it."""
    source = tokens.source
    if _ESCAPE.match(source, at):
        return at + 1
    for letter, digits, message in _HEX_ESCAPES:
        if letter.match(source, at):
            found = re.compile(digits).match(source, at + 1)
            if found:
                return found.end()
            tokens.complain(at + 1, message)
            return at + 1
    tokens.complain(at, "Invalid escape sequence in string literal.")
    return at


def _number(tokens: Tokens, start: int, at: int) -> int:
    """Read a number; return the offset after it."""
    source = tokens.source
    kind, at = _digits(tokens, at)
    follower = source[at : at + 1]
    if follower and (follower == "_" or (follower.isascii() and follower.isalpha())):
        tokens.complain(at, "Need space between number and identifier.")
    elif follower == "." and kind == FLOAT:
        message = "Already saw decimal point or exponent; can't have another one."
        tokens.complain(at, message)
    elif follower == ".":
        tokens.complain(at, "Hex and octal numbers must be integers.")
    tokens.add(kind, start, at)
    return at


def _digits(tokens: Tokens, at: int) -> tuple[int, int]:
    source = tokens.source
    if found := _HEX.match(source, at):
        if not found[1]:
            tokens.complain(found.end(), '"0x" must be followed by hex digits.')
        return INTEGER, found.end()
    if found := _OCTAL.match(source, at):
        if rest := _DIGITS.match(source, found.end()):
            message = "Numbers starting with leading zero must be in octal."
            tokens.complain(found.end(), message)
            return INTEGER, rest.end()
        return INTEGER, found.end()
    found = _DECIMAL.match(source, at)
    assert found is not None  # the pattern matches nothing, too
    is_float, at = found[1] is not None, found.end()
    if exponent := _EXPONENT.match(source, at):
        is_float, at = True, exponent.end()
        if power := _DIGITS.match(source, at):
            at = power.end()
        else:
            tokens.complain(at, '"e" must be followed by exponent.')
    if source[at : at + 1] in ("f", "F"):
        is_float, at = True, at + 1
    return FLOAT if is_float else INTEGER, at


def errors_until(tokens: Tokens, index: int) -> Iterator[TokenError]:
    """Yield the errors that a parser which stops at token `index` has heard of."""
    return (error for error in tokens.errors if error.before <= index)
