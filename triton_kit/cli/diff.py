"""`triton-kit diff`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from triton_kit.cli.command import kit_command


@kit_command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(before: Path, after: Path, *, as_json: bool) -> None:
    """Say what two configs, models or repositories mean differently.

    Exits with 0 if they mean the same, 1 if not.
    """
    from triton_kit.repository.difference import changes

    found = changes(before, after)
    if as_json:
        click.echo(json.dumps([asdict(change) for change in found], indent=2))
    else:
        for change in found:
            click.echo(str(change))
    sys.exit(1 if found else 0)
