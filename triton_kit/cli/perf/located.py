"""Errors about a value of a named load begin with its line in triton-kit.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click
from click.core import ParameterSource

from triton_kit.cli.perf.named import GIVEN, NamedLoad, named_load, plain
from triton_kit.errors import SpecError

# What may stand around a value or an option in a message.
_BEFORE = r"(?:^|(?<=[\s'\"(,;:=]))"
_AFTER = r"(?=$|[\s'\"),;:]|/s\b|\.(?:\s|$))"


@contextmanager
def located(ctx: click.Context) -> Iterator[None]:
    """Begin an error about a value of a named load with the line of that value."""
    try:
        yield
    except SpecError as error:
        load = named_load(ctx)
        if load and (place := _place(ctx, load, error.message)):
            error.message = f"{place}: {error.message}"
            error.args = (error.message,)
        raise


def _place(ctx: click.Context, load: NamedLoad, message: str) -> str | None:
    """Return the line of the value that a message is about.

    The longest text in it, of a value or an option, decides. None: it is about the
    command line, or may be; it is where the message has an option of that.
    """
    found: dict[str | None, int] = {}
    for param in ctx.command.params:
        name = param.name or ""
        source = ctx.get_parameter_source(name)
        if name not in ctx.params or source is ParameterSource.DEFAULT:
            continue
        place = None if source in GIVEN else load.place(name)
        if place is None and _longest(message, param.opts):
            return None
        length = _longest(message, [*param.opts, *_texts(ctx.params[name])])
        found[place] = max(found.get(place, 0), length)
    longest = max(found.values(), default=0)
    if not longest:
        return None if None in found else load.place()
    best = [place for place, length in found.items() if length == longest]
    return None if None in best else best[0]


def _texts(value: object) -> list[str]:
    """Return the texts that a message may have of a value: it, its items and parts."""
    items = value if isinstance(value, list | tuple) else [value]
    words = [plain(item) for item in items if not isinstance(item, bool)]
    return [*words, *(part for word in words for part in re.split("[,:]", word))]


def _longest(message: str, texts: list[str]) -> int:
    """Return the length of the longest text that stands alone in a message, or 0."""
    return max(
        len(text)
        for text in ("", *texts)
        if not text or re.search(_BEFORE + re.escape(text) + _AFTER, message)
    )
