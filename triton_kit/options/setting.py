"""A setting is a dataclass field with what the command line and YAML need beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from triton_kit.errors import SpecError, did_you_mean


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a value that is no single word is written on the command line.

    Attributes:
        read: the texts of a repeated flag become the value.
        write: the value becomes those texts.
    """

    read: Callable[[Sequence[str]], Any]
    write: Callable[[Any], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What a setting is called outside Python, and what it may be.

    Attributes:
        help: a noun phrase or an imperative that is understandable alone.
        flag: on the command line; `--on/--off` for a switch with two words.
        aliases: flags that work as well and are not shown.
        key: dotted place in a model of triton-kit.yaml; None where it has none.
        place: where triton-kit.yaml says it instead, for the reference.
        group: heading in `--help`.
        metavar: stands for the value in `--help`.
        form: for values that are no single word.
        bounds: least and largest number; the least itself is out with `above`.
        hint: of the error for a number out of bounds.
        yaml_type: the type in YAML where it is another one.
    """

    help: str
    flag: str
    aliases: tuple[str, ...] = ()
    key: str | None = None
    place: str = ""
    group: str = "Options"
    metavar: str | None = None
    form: TextForm | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    above: bool = False
    hint: str | None = None
    yaml_type: Any = None


def setting(default: Any = MISSING, **option: Any) -> Any:  # noqa: ANN401  a field
    """Declare a dataclass field together with its `Option`."""
    metadata = {"option": Option(**option)}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A declared setting: `name` is dotted where it is a field of a field."""

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def parameter(self) -> str:
        """The name as a Python identifier."""
        return self.name.replace(".", "__")

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it may be; none where it is no choice."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def has_shown_default(self) -> bool:
        """Whether its default says something: 0 does, a switch that is off does not."""
        return self.default is not False and self.default not in (MISSING, None, (), {})

    def value_in(self, spec: object) -> Any:  # noqa: ANN401  of any type
        """Return its value in a spec; None where a part on the way is None."""
        for part in self.name.split("."):
            spec = None if spec is None else getattr(spec, part)
        return spec


def settings_of(spec_type: Any) -> tuple[Setting, ...]:  # noqa: ANN401  a dataclass
    """Return the settings that a dataclass declares, fields of fields included."""
    return tuple(_walk(spec_type, prefix=""))


def _walk(spec_type: Any, prefix: str) -> Iterator[Setting]:  # noqa: ANN401
    types = get_type_hints(spec_type)
    for item in fields(spec_type):
        kind = _without_none(types[item.name])
        name = f"{prefix}{item.name}"
        if option := item.metadata.get("option"):
            make: Any = item.default_factory
            default = item.default if make is MISSING else make()
            yield Setting(name=name, type=kind, default=default, option=option)
        elif is_dataclass(kind):
            yield from _walk(kind, prefix=f"{name}.")


def _without_none(kind: Any) -> Any:  # noqa: ANN401  a type; `int | None` is int
    if get_origin(kind) not in (Union, UnionType):
        return kind
    parts = [part for part in get_args(kind) if part is not NoneType]
    return parts[0] if len(parts) == 1 else kind


def check_settings(spec: object) -> None:
    """Hold a spec's own values against what its settings may be.

    Raises:
        SpecError: a word or a number that a setting cannot be.
    """
    for item in settings_of(type(spec)):
        value = None if "." in item.name else getattr(spec, item.name)
        if value is not None:
            _check(item, value)


def _check(item: Setting, value: Any) -> None:  # noqa: ANN401  of the setting's type
    words = item.name.replace("_", " ")
    if item.choices and value not in item.choices:
        raise SpecError(
            f"unknown {words} {value!r}", hint=did_you_mean(str(value), item.choices)
        )
    if item.type not in (int, float):
        return
    low, high = item.option.bounds
    is_low = low is not None and (value < low or (item.option.above and value == low))
    if not isfinite(value) or is_low or (high is not None and value > high):
        raise SpecError(
            f"{item.name} is {bounds_text(item.option)}, got {value}",
            hint=item.option.hint,
        )


def bounds_text(option: Option) -> str:
    """Say which numbers a setting takes."""
    low, high = option.bounds
    if high is not None and low is not None:
        return (
            f"above {low:g}, up to {high:g}"
            if option.above
            else (f"from {low:g} to {high:g}")
        )
    if low is not None:
        return f"above {low:g}" if option.above else f"at least {low:g}"
    return "a finite number"


def nested(spec_type: Any, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Return the arguments of a dataclass from values by dotted name.

    A part that lacks a required value is left out: calibration without samples is none.
    """
    types = get_type_hints(spec_type)
    given: dict[str, Any] = {}
    for item in fields(spec_type):
        kind: Any = _without_none(types[item.name])
        if not hasattr(kind, "__dataclass_fields__"):
            if item.name in values:
                given[item.name] = values[item.name]
            continue
        prefix = f"{item.name}."
        part = {n.removeprefix(prefix): v for n, v in values.items() if prefix in n}
        needed = (f.name for f in fields(kind) if _is_required(f))
        if part and all(part.get(name) is not None for name in needed):
            given[item.name] = kind(**part)
    return given


def _is_required(item: Any) -> bool:  # noqa: ANN401  a Field
    return item.default is MISSING and item.default_factory is MISSING


def words_of(spec: object) -> list[str]:
    """Return the words of a command line that ask for what a spec asks for."""
    return [
        word
        for item in settings_of(type(spec))
        for word in _words(item, item.value_in(spec))
    ]


def _words(item: Setting, value: Any) -> list[str]:  # noqa: ANN401
    flag = item.option.flag
    if value is None:
        return []
    if isinstance(value, bool):
        on, _, off = flag.partition("/")
        return [] if value == item.default else [on if value else off]
    if item.option.form:
        texts = item.option.form.write(value)
    elif isinstance(value, tuple):
        texts = list(value)
    else:
        texts = [str(value.resolve() if isinstance(value, Path) else value)]
    return [word for text in texts for word in (flag, text)]


def reference_table(items: Sequence[Setting]) -> str:
    """Return the settings as a Markdown table."""
    lines = ["| flag | triton-kit.yaml | value | what it is |", "|---|---|---|---|"]
    for item in items:
        option = item.option
        where = f"`{option.key}`" if option.key else option.place or "-"
        flag = option.flag.replace("/", "`, `")
        lines.append(f"| `{flag}` | {where} | {_value_text(item)} | {option.help} |")
    return "\n".join(lines) + "\n"


def _value_text(item: Setting) -> str:
    option = item.option
    text = ", ".join(f"`{c}`" for c in item.choices) or option.metavar or ""
    if item.type is bool:
        text = ""
    if option.bounds != (None, None):
        text = f"{text} {bounds_text(option)}".strip()
    text_of_default = f"default `{str(item.default).lower()}`"
    default = text_of_default if item.has_shown_default else ""
    return "; ".join(part for part in (text, default) if part)
