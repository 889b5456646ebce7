"""Options of `triton-kit perf` about models: which, and what each of them is sent.

With one model they are perf_analyzer's. With several, `-m NAME=WEIGHT` gives each its
part of the requests, and the other options may begin with `NAME=` to be for one model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = [
    click.option(
        "-m",
        "--model-name",
        "models",
        multiple=True,
        required=True,
        metavar="NAME[=WEIGHT]",
        help="Model to load. Several at once: -m detector=3 -m classifier=1; then "
        "-x, -b, --shape and --input-data may say for which: -b detector=8.",
    ),
    click.option(
        "-x", "--model-version", "versions", multiple=True, help="Its version."
    ),
    click.option(
        "-b",
        "--batch-size",
        "batch_sizes",
        multiple=True,
        metavar="N",
        help="Inferences per request; 1 without it.",
    ),
]
