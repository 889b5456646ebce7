"""`triton-kit graph`."""

from __future__ import annotations

from pathlib import Path

import click

from triton_kit.cli.command import kit_command


@kit_command()
@click.argument("repository", type=click.Path(path_type=Path))
@click.argument("name", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    show_default=True,
)
def command(repository: Path, name: str | None, *, form: str) -> None:
    """Draw the ensembles of REPOSITORY, or the one called NAME."""
    from triton_kit.repository.drawing import FORMATS, pictures

    click.echo(FORMATS[form](pictures(repository, name)))
