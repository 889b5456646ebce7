"""`triton-kit new`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("recipe")
@click.argument("folder", type=click.Path(path_type=Path))
def command(recipe: str, folder: Path) -> None:
    """Write the project RECIPE (try `digits`) into the new FOLDER."""
    from triton_kit.project.scaffold import scaffold

    scaffold(recipe, folder)
    click.echo(f"{folder} is ready. Next: triton-kit build {folder}")
