"""`triton-kit inspect`."""

from __future__ import annotations

from pathlib import Path

import click
import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import json_option, shape_option
from triton_kit.cli.output import echo

_FILE = click.Path(path_type=Path)


@kit_command(examples=["triton-kit inspect model.onnx --profile --batch 8"])
@cloup.argument("file", type=_FILE)
@cloup.option_group(
    "Profile",
    cloup.option("--profile", is_flag=True, help="Run it and list its slowest nodes."),
    shape_option("Shape of an input, such as x:8x3x224x224. Repeatable."),
    cloup.option(
        "--batch",
        type=int,
        metavar="SIZE",
        help="Batch size of inputs without --shape, 2 by default.",
    ),
    cloup.option(
        "--runs",
        type=int,
        default=20,
        show_default=True,
        metavar="COUNT",
        help="Runs that are measured.",
    ),
    cloup.option(
        "--warm-up",
        type=int,
        default=5,
        show_default=True,
        metavar="COUNT",
        help="Runs before them that are not measured.",
    ),
)
@json_option("Print all facts as JSON.")
def command(
    file: Path,
    profile: bool,
    shapes: tuple[str, ...],
    batch: int | None,
    runs: int,
    warm_up: int,
    as_json: bool,
) -> None:
    """Show what FILE is: an ONNX model, a plan, an RTX engine or a manifest."""
    from triton_kit.conversion.inspection.describe import describe, description_lines
    from triton_kit.conversion.inspection.profile import profile_spec
    from triton_kit.conversion.results.manifest import as_text
    from triton_kit.errors import SpecError

    if file.is_dir():
        raise SpecError(
            f"{file}: expected a file, found a folder",
            hint="name the model's file in it; triton-kit validate reads repositories",
        )
    asked = profile_spec(shapes, batch=batch, runs=runs, warm_up=warm_up)
    facts = describe(file, profile=asked if profile else None)
    if as_json:
        echo(as_text(facts), nl=False)
    else:
        echo("\n".join(description_lines(facts)))
