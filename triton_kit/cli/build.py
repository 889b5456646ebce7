"""`triton-kit build`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from triton_kit.cli.command import kit_command


@kit_command()
@click.argument("project", default=".", type=click.Path(path_type=Path))
@click.option("-t", "--target", help="One of the project's targets; the first if none.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The repository to write; model_repository beside triton-kit.yaml if none.",
)
@click.option(
    "--cache",
    envvar="TRITON_KIT_CACHE",
    type=click.Path(path_type=Path),
    help="A folder of finished conversions, by content; $TRITON_KIT_CACHE.",
)
def command(
    project: Path, target: str | None, output: Path | None, cache: Path | None
) -> None:
    """Build the models of PROJECT (a folder, or its triton-kit.yaml)."""
    from triton_kit.build_project import build
    from triton_kit.project.load import load_project

    result = build(
        load_project(project, target=target),
        output=output,
        cache=cache,
        on_progress=lambda line: click.echo(line, err=True),
    )
    for model in result.models:
        state = "new" if model.changed else "unchanged"
        click.echo(f"{model.name}  version {model.version}  {state}")
        for note in result.notes.get(model.name, ()):
            click.echo(f"  note: {note}")
    quoted = shlex.quote(str(result.repository))
    click.echo(f"{result.repository} is ready. Try: triton-kit serve {quoted}")
