"""Read a ModelConfig written as JSON, with the place of every field."""

from __future__ import annotations

import json
import re
from json import decoder
from pathlib import Path
from typing import Any

from google.protobuf import json_format, message_factory

from triton_kit.errors import did_you_mean
from triton_kit.repository.config.parse import ConfigSyntaxError, ParsedConfig
from triton_kit.repository.config.places import Node, Place, Places, Step
from triton_kit.repository.config.values import is_map
from triton_kit.triton.schema import DESCRIPTOR, FieldType, Message, ModelConfig

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^\s,\]}]+")
_DEEPEST = 50
_scanstring = decoder.scanstring  # type: ignore[attr-defined]  # typeshed lacks it
_JsonValue = Any  # JSON has no type of its own

_Path = tuple[Step, ...]
_Fault = tuple[_Path, str, str | None]


def _camel_case(descriptor: FieldType, seen: set[str]) -> dict[str, str]:
    """Return the fields' names in camelCase, of a message and those within."""
    names: dict[str, str] = {}
    if descriptor.full_name not in seen:
        seen.add(descriptor.full_name)
        for field in descriptor.fields:
            names[field.camelcase_name] = field.name
            if field.message_type is not None:
                names |= _camel_case(field.message_type, seen)
    return names


_PROTO_NAMES = _camel_case(DESCRIPTOR, set())


def parse_json(text: str | bytes, *, path: Path = Path("config.json")) -> ParsedConfig:
    """Read a config as JSON: field names as in the schema, or in camelCase.

    Raises:
        ConfigSyntaxError: the text is no JSON, or no ModelConfig.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    # Places count characters of a source that has one character a byte.
    places = Places(Node(0), data.decode("latin-1"))
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _no_json(error, path) from error
    _note(places)
    where, reason, hint = _fault(value, DESCRIPTOR, ())
    if reason:
        place = places.of(where) if where else Place(1, 1)
        raise _refused(reason, place, path, hint)
    return ParsedConfig(json_format.ParseDict(value, ModelConfig()), path, places)


def _no_json(error: Exception, path: Path) -> ConfigSyntaxError:
    if isinstance(error, json.JSONDecodeError):
        place = Place(error.lineno, error.colno)
        return _refused(f"no JSON: {error.msg}", place, path)
    if isinstance(error, UnicodeDecodeError):
        return _refused("no UTF-8", Place(1, 1), path, "save the file as UTF-8")
    return _refused("nested too deep", Place(1, 1), path)


def _refused(
    reason: str, place: Place, path: Path, hint: str | None = None
) -> ConfigSyntaxError:
    return ConfigSyntaxError(
        reason, path=path, place=place, rule="P9", hint=hint, server_text=""
    )


def _fault(value: _JsonValue, descriptor: FieldType, at: _Path) -> _Fault:
    """Find the first field that is unknown or wrong; without a reason there is none."""
    if not isinstance(value, dict):
        return at, f"expected an object, got {json.dumps(value)[:40]}", None
    names = {f.name: f for f in descriptor.fields}
    names |= {f.camelcase_name: f for f in descriptor.fields}
    for name, inner in value.items():
        field = names.get(name)
        if field is None:
            hint = did_you_mean(name, [f.name for f in descriptor.fields])
            return (*at, name), f"{descriptor.name} has no field {name!r}", hint
        found = _field_fault(inner, field, (*at, field.name))
        if found[1]:
            return found
    return at, "", None


def _field_fault(value: _JsonValue, field: FieldType, at: _Path) -> _Fault:
    message = field.message_type
    if message is not None and is_map(field):
        return _map_fault(value, message, at)
    if message is not None and field.is_repeated and isinstance(value, list):
        for number, item in enumerate(value):
            found = _fault(item, message, (*at, number))
            if found[1]:
                return found
        return at, "", None
    if message is not None and not field.is_repeated and value is not None:
        return _fault(value, message, at)
    # A scalar, or a list where none belongs: protobuf itself reports what is wrong.
    holder = {field.name: value}
    try:
        json_format.ParseDict(holder, _new(field))
    except json_format.ParseError as error:
        reason = str(error).partition(": ")[2] or str(error)
        return at, f"{field.name}: {reason}", None
    return at, "", None


def _map_fault(value: _JsonValue, entry: FieldType, at: _Path) -> _Fault:
    if not isinstance(value, dict):
        return at, f"expected an object, got {json.dumps(value)[:40]}", None
    inner = entry.fields_by_name["value"]
    for key, item in value.items():
        if inner.message_type is not None:
            found = _fault(item, inner.message_type, (*at, key))
            if found[1]:
                return found
        elif not isinstance(item, str):
            return (*at, key), f"expected a text, got {json.dumps(item)[:40]}", None
    return at, "", None


def _new(field: FieldType) -> Message:
    return message_factory.GetMessageClass(field.containing_type)()


def _note(places: Places) -> None:
    """Note the offset of every member and item; the text is known to be JSON."""
    source = places.source
    start = _skip(source, 0)
    if source[start] == "{":
        places.root = _object(source, start, 0)[0]


def _skip(source: str, at: int) -> int:
    found = _SPACE.match(source, at)
    return found.end() if found else at


def _value(source: str, at: int, depth: int) -> tuple[object, int]:
    char = source[at]
    if char == "{" and depth < _DEEPEST:
        return _object(source, at, depth + 1)
    if char == "[" and depth < _DEEPEST:
        return _array(source, at, depth + 1)
    if char == '"':
        return at, _scanstring(source, at + 1, False)[1]
    found = _SCALAR.match(source, at)
    return at, found.end() if found else at + 1


def _object(source: str, start: int, depth: int) -> tuple[Node, int]:
    node, at = Node(start), _skip(source, start + 1)
    while source[at] == '"':
        key_at = at
        key, at = _scanstring(source, at + 1, False)
        at = _skip(source, _skip(source, at) + 1)
        place, at = _value(source, at, depth)
        name = key.encode("latin-1", "replace").decode(errors="replace")
        name = _PROTO_NAMES.get(name, name)
        node.fields[name] = key_at if isinstance(place, int) else place
        at = _skip(source, at)
        at = _skip(source, at + 1) if source[at] == "," else at
    return node, at + 1


def _array(source: str, start: int, depth: int) -> tuple[list[object], int]:
    items: list[object] = []
    at = _skip(source, start + 1)
    while source[at] != "]":
        place, at = _value(source, at, depth)
        items.append(place)
        at = _skip(source, at)
        at = _skip(source, at + 1) if source[at] == "," else at
    return items, at + 1
