"""`triton-kit format`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from triton_kit.cli.command import kit_command


@kit_command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file differs.")
def command(files: tuple[Path, ...], *, check: bool) -> None:
    """Write each config.pbtxt of FILES in the canonical layout; comments stay."""
    from triton_kit.repository.config.formatting import format_file

    changed = [file for file in files if format_file(file, write=not check)]
    for file in changed:
        click.echo(f"{'would format' if check else 'formatted'} {file}")
    sys.exit(1 if check and changed else 0)
