"""Declared settings become click options, in groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import cloup

from triton_kit.cli.command import kit_option
from triton_kit.options.setting import Setting, bounds_text

Decorator = Callable[[Any], Any]  # click has no type for what it decorates


def option_groups(items: Sequence[Setting]) -> Decorator:
    """Return a decorator that gives a command the options of all settings."""
    ordered = sorted(items, key=_rank(items))
    groups = [
        cloup.option_group(name, *map(_decorator, group))
        for name, group in groupby(ordered, key=lambda item: item.option.group)
    ]

    def decorate(command: Any) -> Any:  # noqa: ANN401
        for group in reversed(groups):
            command = group(command)
        return command

    return decorate


def _rank(items: Sequence[Setting]) -> Callable[[Setting], int]:
    groups = list(dict.fromkeys(item.option.group for item in items))
    return lambda item: groups.index(item.option.group)


def _decorator(item: Setting) -> Decorator:
    option, given = item.option, dict[str, Any]()
    if item.type is bool:
        given["is_flag"] = True
        given["default"] = item.default
    elif option.form or item.type == tuple[str, ...]:
        given["multiple"] = True
    elif item.default is not MISSING:
        given["default"] = item.default
    if not given.get("is_flag"):
        given["type"] = _click_type(item)
        given["metavar"] = option.metavar
    text = option.help
    if option.bounds != (None, None):
        text = f"{text.removesuffix('.')}, {bounds_text(option)}."
    return kit_option(
        option.flag,
        item.parameter,
        former=option.aliases,
        help=text,
        show_default=item.has_shown_default,
        **given,
    )


def _click_type(item: Setting) -> Any:  # noqa: ANN401  click's parameter types
    if item.choices:
        return click.Choice(item.choices)
    if item.type is Path:
        return click.Path(path_type=Path)
    return item.type if item.type in (int, float) else str


def values_of(items: Sequence[Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings' values, by dotted name, from what click read.

    Raises:
        SpecError: a text is not of its setting's form.
    """
    return {
        item.name: item.option.form.read(given[item.parameter])
        if item.option.form
        else given[item.parameter]
        for item in items
    }
