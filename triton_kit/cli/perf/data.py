"""What the inputs of the requests hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any  # the fields of a PerfSpec

import click

from triton_kit.cli.options import PATH_TO_READ, seed_option, shape_option
from triton_kit.cli.perf.group import COUNT, Option, option

SHAPE: Option = shape_option(
    "Shape of an input that varies, without the batch axis: x:3,224,224. Several of "
    "one input: one run each.",
    former=(),
)


def _existing_sources(
    ctx: click.Context, param: click.Parameter, words: tuple[str, ...]
) -> tuple[str, ...]:
    """Check paths before a server is asked; a name of an input may have colons."""
    for word in words:
        pieces = word.split(":")
        paths = [":".join(pieces[at:]) for at in range(len(pieces))]
        is_path = len(paths) == 1 and word not in ("random", "zero")
        is_path |= word.endswith((".npy", ".npz", ".json", ".bin"))
        if is_path and not any(Path(path).exists() for path in paths):
            PATH_TO_READ.convert(paths[-1], param, ctx)
    return words


INPUT_DATA = option(
    "--input-data",
    multiple=True,
    callback=_existing_sources,
    metavar="[NAME:]SOURCE",
    help="random, zero, a folder, or an .npz, .npy or JSON file.",
)
OPTIONS = (
    option(
        "--string-data",
        metavar="TEXT",
        help="Use this text for every string, instead of random letters.",
    ),
    option(
        "--string-length",
        type=COUNT,
        default=128,
        metavar="N",
        help="Letters of each random string.",
    ),
    seed_option(
        "Seed of random data, lengths and Poisson arrivals.",
        former=("--random-seed",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Strings and the seed; shapes and sources may be for one model of several."""

    string_data: str | None
    string_length: int
    seed: int

    def fields(self) -> dict[str, Any]:
        """Return the fields of a PerfSpec."""
        from triton_kit.loadtest.inputs.draws import StringData

        strings = StringData(text=self.string_data, length=self.string_length)
        return {"string_data": strings, "seed": self.seed}
