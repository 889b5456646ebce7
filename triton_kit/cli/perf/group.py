"""What every group of options shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar  # Any: each option has its own type

import click

from triton_kit.cli.command import kit_option

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Option = Callable[[Callable[..., Any]], Callable[..., Any]]
GroupType = TypeVar("GroupType", bound="DataclassInstance")
POSITIVE_SECONDS = click.FloatRange(min=0, min_open=True)
COUNT = click.IntRange(min=1)


def from_options(cls: type[GroupType], options: Mapping[str, Any]) -> GroupType:
    """Make a group of the options that have the names of its fields."""
    names = [field.name for field in fields(cls)]
    return cls(**{name: options[name] for name in names})


def option(*names: str, **attrs: Any) -> Option:  # noqa: ANN401
    """Declare one option."""
    return kit_option(*names, **attrs)
