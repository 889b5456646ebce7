"""`triton-kit graph`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import output_option, repository_argument
from triton_kit.cli.output import echo, notice
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.repository.drawing import Picture


@kit_command(
    examples=(
        "triton-kit graph model_repository --format mermaid",
        "triton-kit graph model_repository --format svg -o pipelines.svg",
    )
)
@repository_argument("The model repository.")
@cloup.argument("name", required=False, help="A model. Default: all of them.")
@kit_option(
    "--format",
    "layout",
    type=click.Choice(["text", "mermaid", "dot", "svg", "png"]),
    default="text",
    help="Language of the drawing, or a picture.",
)
@output_option("File to write.  [default: standard output]")
def command(
    repository: Path, name: str | None, *, layout: str, output: Path | None
) -> None:
    """Draw the ensembles of REPOSITORY and the calls of its models, or only NAME."""
    from triton_kit.repository.drawing import pictures

    if layout == "png" and output is None and sys.stdout.isatty():
        raise SpecError("--format png: a terminal shows no PNG", hint="-o FILE.png")
    drawn = pictures(repository, name)
    if not drawn:
        notice(f"{repository} has no ensemble: there is nothing to draw")
    if layout == "png":
        _write_png(drawn, output)
    else:
        _write_text(drawn, layout, output)


def _write_text(drawn: list[Picture], layout: str, output: Path | None) -> None:
    from triton_kit.files import write_whole
    from triton_kit.repository.drawing import FORMATS
    from triton_kit.repository.svg import as_svg

    text = as_svg(drawn) if layout == "svg" else FORMATS[layout](drawn)
    if output is None:
        echo(text)
    else:
        write_whole(output, f"{text}\n")


def _write_png(drawn: list[Picture], output: Path | None) -> None:
    from triton_kit.files import write_whole
    from triton_kit.repository.svg import as_svg, png_from_svg

    image = png_from_svg(as_svg(drawn))
    if output is None:
        click.echo(image, nl=False)
    else:
        write_whole(output, image)
