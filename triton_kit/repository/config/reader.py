"""The grammar of protobuf's text format: tokens fill a message, places are noted."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor

from triton_kit.repository.config.places import Node
from triton_kit.repository.config.tokens import (
    END,
    FLOAT,
    IDENTIFIER,
    INTEGER,
    STRING,
    Tokens,
    string_value,
)
from triton_kit.repository.config.values import is_map
from triton_kit.triton.schema import DESCRIPTOR, FieldType, Message

_INTEGER_BITS = {
    FieldDescriptor.TYPE_INT32: (31, True),
    FieldDescriptor.TYPE_INT64: (63, True),
    FieldDescriptor.TYPE_UINT32: (32, False),
    FieldDescriptor.TYPE_UINT64: (64, False),
}
_FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
_BOOLS = {
    "true": True,
    "True": True,
    "t": True,
    "false": False,
    "False": False,
    "f": False,
}


class FaultError(Exception):
    """The parser cannot go on: protobuf's message at the current token.

    `token` is the index of the token at fault, where protobuf has already gone past it.
    """

    def __init__(self, message: str, rule: str, token: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.token = token


@dataclass(frozen=True, slots=True)
class _Field:
    """What the parser needs to know of a field, looked up once."""

    name: str
    type: int
    is_repeated: bool
    is_map: bool
    has_presence: bool
    oneof: str | None
    descriptor: FieldType


@cache
def _fields_of(descriptor: FieldType) -> dict[str, _Field]:
    return {
        field.name: _Field(
            field.name,
            field.type,
            field.is_repeated,
            is_map(field),
            field.has_presence,
            field.containing_oneof.name if field.containing_oneof else None,
            field,
        )
        for field in descriptor.fields
    }


class Reader:
    """A recursive descent over tokens that fills a message."""

    def __init__(
        self, tokens: Tokens, absent: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self.tokens = tokens
        self.absent = absent
        self.at = 0
        self.message_type = DESCRIPTOR
        self.name = ""
        self.not_utf8: list[int] = []  # offsets of strings

    def read(self, config: Message, root: Node) -> None:
        """Read a whole file."""
        types = self.tokens.types
        while types[self.at] != END:
            self._field(config, root)
        if self.tokens.errors:
            raise FaultError("", "P6")

    def _field(self, message: Message, node: Node) -> None:
        """Read `name: value`, `name { ... }` or `name [ ... ]`."""
        tokens, start = self.tokens, self.at
        if tokens.texts[start] == "[":
            self._extension(message)
        name = tokens.texts[start]
        self.message_type, self.name = message.DESCRIPTOR, name
        if tokens.types[start] != IDENTIFIER:
            raise FaultError(f"Expected identifier, got: {name}", "P7")
        self.at += 1
        field = _fields_of(message.DESCRIPTOR).get(name)
        kind = message.DESCRIPTOR.full_name
        if field is None or (kind, name) in self.absent:
            text = f'Message type "{kind}" has no field named "{name}".'
            raise FaultError(text, "P1", start)
        self._refuse_second(message, field, start)
        is_message = field.type == FieldDescriptor.TYPE_MESSAGE
        if is_message:
            self._skip(":")
        else:
            self._expect(":")
        if field.is_repeated and self._skip("["):
            self._list(message, node, field)
        else:
            self._value(message, node, field, tokens.offsets[start])
        self._skip(";") or self._skip(",")

    def _refuse_second(self, message: Message, field: _Field, start: int) -> None:
        if field.is_repeated:
            return
        name = field.name
        if field.oneof is not None:
            other = message.WhichOneof(field.oneof)
            if other is not None and other != name:
                text = (
                    f'Field "{name}" is specified along with field "{other}", another '
                    f'member of oneof "{field.oneof}".'
                )
                raise FaultError(text, "P5", start)
        if field.has_presence:
            is_set = message.HasField(name)
        else:
            is_set = getattr(message, name) != field.descriptor.default_value
        if is_set:
            text = f'Non-repeated field "{name}" is specified multiple times.'
            raise FaultError(text, "P4", start)

    def _list(self, message: Message, node: Node, field: _Field) -> None:
        """Read the short form of a repeated field, after its `[`."""
        if self._skip("]"):
            return
        while True:
            self._value(message, node, field, self.tokens.offsets[self.at])
            if self._skip("]"):
                return
            self._expect(",")

    def _value(self, message: Message, node: Node, field: _Field, offset: int) -> None:
        """Read one value, set or append it, and note its place."""
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            self._message(message, node, field, offset)
            return
        value = self._scalar(field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
            places = node.fields.setdefault(field.name, [])
            assert isinstance(places, list)  # a repeated field's places are a list
            places.append(offset)
        else:
            setattr(message, field.name, value)
            node.fields[field.name] = offset

    def _message(
        self, message: Message, node: Node, field: _Field, offset: int
    ) -> None:
        close = ">" if self._skip("<") else "}"
        if close == "}":
            self._expect("{")
        inner_node = Node(offset)
        if field.is_map:
            self._map_entry(message, node, field, inner_node, close)
            return
        if field.is_repeated:
            inner = getattr(message, field.name).add()
            places = node.fields.setdefault(field.name, [])
            assert isinstance(places, list)  # a repeated field's places are a list
            places.append(inner_node)
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
            node.fields[field.name] = inner_node
        self._body(inner, inner_node, close)

    def _map_entry(
        self, message: Message, node: Node, field: _Field, inner: Node, close: str
    ) -> None:
        """Read `{ key: ... value: ... }`; the last entry of a key wins."""
        entry_type = field.descriptor.message_type
        entry = message_factory.GetMessageClass(entry_type)()
        self._body(entry, inner, close)
        target = getattr(message, field.name)
        if entry_type.fields_by_name["value"].message_type is not None:
            target[entry.key].CopyFrom(entry.value)
        else:
            target[entry.key] = entry.value
        places = node.fields.setdefault(field.name, {})
        assert isinstance(places, dict)  # a map's places are a dict
        value_node = inner.fields.get("value")
        if isinstance(value_node, Node):
            inner.fields = value_node.fields
        places[entry.key] = inner

    def _body(self, message: Message, node: Node, close: str) -> None:
        texts = self.tokens.texts
        while texts[self.at] not in (">", "}"):
            self._field(message, node)
        self._expect(close)

    def _scalar(self, field: _Field) -> object:
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._string()
        if field.type == FieldDescriptor.TYPE_ENUM:
            return self._enum(field)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self._bool(field)
        if field.type in _FLOATS:
            return self._float(field)
        bits, is_signed = _INTEGER_BITS[field.type]
        return self._integer(bits, is_signed=is_signed)

    def _string(self) -> str:
        tokens, start = self.tokens, self.at
        if tokens.types[start] != STRING:
            raise FaultError(f"Expected string, got: {tokens.texts[start]}", "P3")
        value = ""
        while tokens.types[self.at] == STRING:
            value += string_value(tokens.texts[self.at])
            self.at += 1
        try:
            return value.encode("latin-1").decode()
        except UnicodeDecodeError:
            # The server takes the bytes as they are; Python's protobuf cannot.
            self.not_utf8.append(tokens.offsets[start])
            return value.encode("latin-1").decode(errors="replace")

    def _integer(self, bits: int, *, is_signed: bool) -> int:
        is_negative = is_signed and self._skip("-")
        text = self._text_of(INTEGER, "Expected integer, got: ")
        most = (1 << bits) if is_negative else (1 << bits) - 1
        value = _int_value(text)
        if value is None or value > most:
            raise FaultError(f"Integer out of range ({text})", "P3")
        self.at += 1
        return -value if is_negative else value

    def _enum(self, field: _Field) -> int:
        tokens, enum = self.tokens, field.descriptor.enum_type
        text = tokens.texts[self.at]
        if tokens.types[self.at] == IDENTIFIER:
            self.at += 1
            known = enum.values_by_name.get(text)
            if known is None:
                name = field.name
                message = f'Unknown enumeration value of "{text}" for field "{name}".'
                raise FaultError(message, "P2", self.at - 1)
            return int(known.number)
        if text == "-" or tokens.types[self.at] == INTEGER:
            return self._integer(31, is_signed=True)
        raise FaultError(f"Expected integer or identifier, got: {text}", "P3")

    def _bool(self, field: _Field) -> bool:
        if self.tokens.types[self.at] == INTEGER:
            return bool(self._integer(1, is_signed=False))
        text = self._text_of(IDENTIFIER, "Expected identifier, got: ")
        self.at += 1
        if text not in _BOOLS:
            message = (
                f'Invalid value for boolean field "{field.name}". Value: "{text}".'
            )
            raise FaultError(message, "P3", self.at - 1)
        return _BOOLS[text]

    def _float(self, field: _Field) -> float:
        sign = -1.0 if self._skip("-") else 1.0
        kind, text = self.tokens.types[self.at], self.tokens.texts[self.at]
        if kind == INTEGER:
            if text[0] == "0" and len(text) > 1:
                raise FaultError(f"Expect a decimal number, got: {text}", "P3")
            value = float(int(text))
        elif kind == FLOAT:
            value = _float_value(text)
        elif kind == IDENTIFIER and text.lower() in ("inf", "infinity", "nan"):
            value = float(text.lower())
        else:
            shown = text.lower() if kind == IDENTIFIER else text
            raise FaultError(f"Expected double, got: {shown}", "P3")
        self.at += 1
        is_single = field.type == FieldDescriptor.TYPE_FLOAT
        return _as_single(sign * value) if is_single else sign * value

    def _text_of(self, kind: int, otherwise: str) -> str:
        text = self.tokens.texts[self.at]
        if self.tokens.types[self.at] != kind:
            raise FaultError(otherwise + text, "P3")
        return text

    def _extension(self, message: Message) -> None:
        """Refuse `[some.extension]`: the schema has none."""
        self.at += 1
        names = [self._identifier()]
        while self._skip("."):
            names.append(self._identifier())
        self._expect("]")
        name, kind = ".".join(names), message.DESCRIPTOR.full_name
        text = f'Extension "{name}" is not defined or is not an extension of "{kind}".'
        raise FaultError(text, "P7")

    def _identifier(self) -> str:
        text = self.tokens.texts[self.at]
        if self.tokens.types[self.at] != IDENTIFIER:
            raise FaultError(f"Expected identifier, got: {text}", "P7")
        self.at += 1
        return text

    def _skip(self, text: str) -> bool:
        if self.tokens.texts[self.at] == text:
            self.at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        found = self.tokens.texts[self.at]
        if found != text:
            raise FaultError(f'Expected "{text}", found "{found}".', "P7")
        self.at += 1


def _int_value(text: str) -> int | None:
    """Return an integer token's value; None where it has digits of no such base."""
    base = 16 if text[:2] in ("0x", "0X") else 8 if text[0] == "0" else 10
    if len(text) > 32:  # no 64-bit number, and int() refuses thousands of digits
        text = text.lstrip("0")
        if len(text) > 32:
            return None
    try:
        return int(text, base)
    except ValueError:
        return None


def _float_value(text: str) -> float:
    try:
        return float(text.rstrip("fF"))
    except ValueError:  # an exponent without digits: already complained about
        return 0.0


def _as_single(value: float) -> float:
    try:
        packed: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return packed
