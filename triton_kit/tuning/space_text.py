"""`--space` as it is typed: `NAME=VALUES`, read before a server starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any  # JSON

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.triton.schema import ModelConfig
from triton_kit.tuning.model_fields import (
    CONCURRENCY,
    KNOWN,
    LOAD_FIELDS,
    PRECISION,
    REQUEST_RATE,
    as_value,
    is_conversion,
)
from triton_kit.tuning.space import SpaceField, Value

HINT = "for example instances=1,2,4 or queue_delay_us=off,0,500 or max_batch_size=8..64"
_WORDS: dict[str, Value] = {"off": None, "none": None, "on": True}
# A space that is typed by accident, such as 1..1000000.
_MOST_VALUES = 64


def check_space_texts(texts: Sequence[str]) -> None:
    """Refuse what is wrong with a space whatever the model is.

    Raises:
        SpecError: a text cannot be read, names a field that no model has, or has a
            value that the field cannot take.
    """
    names = list[str]()
    for text in texts:
        name, values = read_space_text(text)
        SpaceField(name=name, values=values, default=values[0])
        names.append(name)
        field = name.rpartition(":")[2]
        if name not in LOAD_FIELDS and not is_conversion(field):
            _require_known(field)
    if twice := {name for name in names if names.count(name) > 1}:
        raise SpecError(f"the space names {', '.join(sorted(twice))} twice")
    if {CONCURRENCY, REQUEST_RATE} <= {*names}:
        raise SpecError(f"the space has both {CONCURRENCY} and {REQUEST_RATE}")


def read_space_text(text: str) -> tuple[str, tuple[Value, ...]]:
    """Return the name of a field and the values to try.

    Raises:
        SpecError: the text cannot be read, or a value is none of the field.
    """
    name, equals, listed = text.partition("=")
    name = name.strip()
    if not equals or not listed.strip() or not name:
        raise SpecError(f"--space {text!r} cannot be read", hint=HINT)
    values = _values(text, listed)
    expected, is_one = _EXPECTED.get(name.rpartition(":")[2], ("", lambda _: True))
    for value in values:
        if not is_one(value):
            found = json.dumps(value)
            raise SpecError(
                f"--space {text!r}: expected {expected}, found {found}", hint=HINT
            )
    return name, values


def _require_known(field: str) -> None:
    first = field.partition(".")[0]
    known = ModelConfig.DESCRIPTOR.fields_by_name
    if field not in KNOWN and first not in known:
        raise SpecError(
            f"there is no field {field!r} to tune",
            hint=did_you_mean(first, [*KNOWN, *LOAD_FIELDS, PRECISION, *known]),
        )


def _is_number(value: Value) -> bool:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and float(value) > 0  # type: ignore[arg-type]


def _from(least: int) -> Callable[[Value], bool]:
    def is_one(value: Value) -> bool:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return is_whole and int(value) >= least  # type: ignore[arg-type]

    return is_one


def _is_delay(value: Value) -> bool:
    return value is None or _from(0)(value)


def _is_preferred(value: Value) -> bool:
    return all(map(_from(1), value if isinstance(value, tuple) else (value,)))


_EXPECTED: Mapping[str, tuple[str, Callable[[Value], bool]]] = {
    **dict.fromkeys(LOAD_FIELDS, ("numbers above 0", _is_number)),
    "instances": ("whole numbers above 0", _from(1)),
    "max_batch_size": ("whole numbers from 0 on", _from(0)),
    "queue_delay_us": ("microseconds or off", _is_delay),
    "preferred": ("batch sizes such as [],[8],[8,16]", _is_preferred),
    "threads": ("whole numbers from 0 on", _from(0)),
}


def _values(text: str, listed: str) -> tuple[Value, ...]:
    low, dots, high = listed.strip().partition("..")
    if dots:
        return _range(text, low, high)
    return tuple(map(_value, _pieces(listed)))


def _range(text: str, low: str, high: str) -> tuple[Value, ...]:
    """Read `1..8`: every number up to 8; of more than 8 values, each twice the last."""
    if not (low.isdigit() and high.isdigit() and int(low) <= int(high)):
        raise SpecError(f"--space {text!r} is no range of whole numbers", hint=HINT)
    first, last = int(low), int(high)
    if last - first < 8:
        return tuple(range(first, last + 1))
    values = [first]
    while values[-1] < last and len(values) < _MOST_VALUES:
        values.append(min(last, max(1, 2 * values[-1])))
    return tuple(values)


def _pieces(listed: str) -> list[str]:
    """Split at commas outside of brackets: `[],[8],[8,16]` has three pieces."""
    pieces, depth = [""], 0
    for char in listed:
        depth += (char == "[") - (char == "]")
        if char == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += char
    return [piece.strip() for piece in pieces]


def _value(piece: str) -> Value:
    if piece in _WORDS:
        return _WORDS[piece]
    try:
        found: Any = json.loads(piece)
    except ValueError:
        return piece
    return as_value(found)
