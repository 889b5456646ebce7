"""The values of a protobuf message as protobuf's text format writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor

from triton_kit.triton.schema import FieldType, Message, Value

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


@dataclass(frozen=True, slots=True)
class SetField:
    """A field that is present in a message, ready to be written.

    Attributes:
        name: the field's name in config.pbtxt.
        kind: `value` (`text` has it), `message` (`message`), `messages`
            (`messages`) or `map` (`entries`: key text, and a message or text).
    """

    name: str
    kind: str
    text: str = ""
    message: Message = None
    messages: Sequence[Message] = ()
    entries: Sequence[tuple[str, Value]] = ()


def quote(text: str) -> str:
    """Write a string: printable characters as they are, all others escaped.

    Line separators and invisible direction marks count as unprintable, so that what
    a reader sees in the file is what the server reads.
    """
    return '"' + "".join(_ESCAPES.get(char) or _visible(char) for char in text) + '"'


def value_text(value: object) -> str:
    """Write a Python value as text format would: for templates that people write."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(value_text(item) for item in value) + " ]"
    return str(value)


def set_fields(message: Message, names: Sequence[str] | None = None) -> list[SetField]:
    """Return the fields present in `message`; in the order of `names`, if given."""
    found = {field.name: (field, value) for field, value in message.ListFields()}
    chosen = found if names is None else [name for name in names if name in found]
    return [_set_field(*found[name]) for name in chosen]


def is_one_liner(message: Message) -> bool:
    """Whether `message` reads better as `{ a: 1 }` than as a block of lines."""
    fields = set_fields(message)
    if len(fields) != 1:
        return not fields
    kind = fields[0].kind
    return kind == "value" or (kind == "message" and is_one_liner(fields[0].message))


def is_map(field: FieldType) -> bool:
    """Whether a field is a map, from its descriptor.

    By the shape that protoc gives an entry: its options would import the messages of
    descriptors, which take longer than a config.
    """
    entry = field.message_type
    return (
        entry is not None
        and entry.containing_type is not None
        and entry.name.endswith("Entry")
        and set(entry.fields_by_name) == {"key", "value"}
    )


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode())


def _set_field(field: FieldType, value: Value) -> SetField:
    if is_map(field):
        key_field, value_field = field.message_type.fields
        entries = [
            (scalar_text(key_field, key), _map_value(value_field, value[key]))
            for key in sorted(value)
        ]
        return SetField(field.name, "map", entries=entries)
    if field.is_repeated:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            return SetField(field.name, "messages", messages=list(value))
        texts = ", ".join(scalar_text(field, item) for item in value)
        return SetField(field.name, "value", text=f"[ {texts} ]")
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return SetField(field.name, "message", message=value)
    return SetField(field.name, "value", text=scalar_text(field, value))


def _map_value(field: FieldType, value: Value) -> Value:
    is_message = field.type == FieldDescriptor.TYPE_MESSAGE
    return value if is_message else scalar_text(field, value)


def scalar_text(field: FieldType, value: Value) -> str:
    """Write one value of a field that is no message."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    if field.type == FieldDescriptor.TYPE_FLOAT:
        # As few digits as bring the same float32 back, not those of its float64.
        import numpy as np  # rarely: it takes as long to import as the rest

        return str(np.float32(value))
    return value_text(value)
