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
        help="What the inputs hold: random (the default), zero, a folder with a file "
        "per input, an .npz, .npy or JSON file. Again, for one input: NAME:random, "
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
    """Take what random strings are out of `options`, as a field of a PerfSpec.

    Shapes and sources may be for one model of several: `perf_models` reads them.

    Raises:
        SpecError: one of them is impossible.
    """
    from triton_kit.loadtest.inputs.draws import StringData

    text, length = options.pop("string_data"), options.pop("string_length")
    return {"string_data": StringData(text=text, length=length)}
