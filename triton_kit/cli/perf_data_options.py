"""Options of `triton-kit perf` about the data; the names are perf_analyzer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = [
    click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME:3,224,224",
        help="Shape of an input that varies, batch axis left out.",
    ),
    click.option(
        "--input-data",
        multiple=True,
        metavar="[NAME:]SOURCE",
        default=["random"],
        show_default=True,
        help="What the inputs hold: random, zero, a folder with a file per input, an "
        ".npz, .npy or JSON file. Given again, for one input: NAME:random, "
        "NAME:random:LOW:HIGH (up to, not including HIGH), NAME:zero, NAME:FILE or "
        "NAME:VALUE, such as mask:zero or temperature:0.7.",
    ),
    click.option(
        "--string-data", metavar="TEXT", help="What every random string is instead."
    ),
    click.option(
        "--string-length",
        default=128,
        show_default=True,
        help="Letters of random strings.",
    ),
    click.option(
        "--random-seed",
        "seed",
        default=0,
        show_default=True,
        help="The same seed draws the same data.",
    ),
]


def data_part(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of this module out of `options`, as fields of a PerfSpec.

    Raises:
        SpecError: one of them is impossible.
    """
    from triton_kit.perf.draws import StringData
    from triton_kit.perf.spec import parse_shape

    words = options.pop("input_data")
    strings = StringData(
        text=options.pop("string_data"), length=options.pop("string_length")
    )
    return {
        "input_data": words[0] if len(words) == 1 else words,
        "string_data": strings,
        "shapes": dict(parse_shape(text) for text in options.pop("shapes")),
    }
