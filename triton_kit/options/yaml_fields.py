"""Settings become the fields of a pydantic model of triton-kit.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, create_model

from triton_kit.options.setting import Setting


def yaml_model(
    name: str, items: Sequence[Setting], *, base: type[BaseModel], about: str = ""
) -> Any:  # noqa: ANN401  a class made here, which no checker can know
    """Return a model with a field for every setting that has a key.

    `a.b` is field `b` of a model of its own in field `a`. Where that has a field
    `data`, a bare text is its `data`.
    """
    fields: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for item in items:
        first, dot, second = (item.option.key or "").partition(".")
        if dot:
            parts.setdefault(first, {})[second] = _field(item)
        elif first:
            fields[first] = _field(item)
    for key, inner in parts.items():
        part: Any = create_model(key.title(), __base__=base, **inner)
        fields[key] = (Annotated[part | None, BeforeValidator(_as_data)], None)
    return create_model(name, __base__=base, __doc__=about, **fields)


def _as_data(value: Any) -> Any:  # noqa: ANN401  what YAML holds
    return {"data": value} if isinstance(value, str) else value


def _field(item: Setting) -> tuple[Any, Any]:
    low, high = item.option.bounds
    above = item.option.above
    kind: Any = item.option.yaml_type or (str if item.type is Path else item.type)
    info = Field(
        ge=None if above else low,
        gt=low if above else None,
        le=high,
        description=item.option.help,
    )
    if (low, high) != (None, None):
        kind = Annotated[kind, info]
    if item.default is None:
        kind = kind | None
    return kind, ... if item.default is MISSING else item.default


def values_in(items: Sequence[Setting], model: BaseModel, root: Path) -> dict[str, Any]:
    """Return the settings' values, by dotted name, from a model that YAML filled.

    Files are named from `root`. Settings that YAML does not say are left out.
    """
    found: dict[str, Any] = {}
    for item in items:
        value: Any = model
        for part in (item.option.key or "").split("."):
            value = getattr(value, part, None) if part else None
        if value is None:
            continue
        if item.type is Path:
            value = root / value
        elif item.type == tuple[Path, ...]:
            value = tuple(root / path for path in value)
        elif item.option.yaml_type and isinstance(value, Mapping):
            value = {name: _text(v) for name, v in value.items()}
        found[item.name] = value
    return found


def _text(value: Any) -> str:  # noqa: ANN401  a plain YAML value
    """Write a value as the command line does: `true`, not Python's `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
