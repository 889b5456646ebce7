"""`triton-kit graph`."""

from __future__ import annotations

from pathlib import Path

import click

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import output_option, repository_argument
from triton_kit.cli.output import echo, notice


@kit_command(examples=("triton-kit graph model_repository --format mermaid",))
@repository_argument("The model repository.")
@click.argument("name", required=False)
@kit_option(
    "--format",
    "layout",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    help="Language of the drawing.",
)
@output_option("File to write.  [default: standard output]")
def command(
    repository: Path, name: str | None, *, layout: str, output: Path | None
) -> None:
    """Draw the ensembles of REPOSITORY and the calls of its models, or only NAME."""
    from triton_kit.files import write_whole
    from triton_kit.repository.drawing import FORMATS, pictures

    drawn = pictures(repository, name)
    if not drawn:
        notice(f"{repository} has no ensemble: there is nothing to draw")
    text = FORMATS[layout](drawn)
    if output is None:
        echo(text)
    else:
        write_whole(output, f"{text}\n")
