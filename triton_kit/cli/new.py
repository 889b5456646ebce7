"""`triton-kit new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import PATH_TO_WRITE
from triton_kit.cli.output import echo, notice


def _recipes(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Complete the name of a recipe."""
    from triton_kit.project.scaffold import recipes

    return [name for name in recipes() if name.startswith(typed)]


@kit_command(examples=["triton-kit new digits my-project"])
@cloup.argument(
    "recipe",
    shell_complete=_recipes,
    help="The example to start from, such as digits.",
)
@cloup.argument("folder", type=PATH_TO_WRITE, help="A new or empty folder.")
def command(recipe: str, folder: Path) -> None:
    """Write the project RECIPE into the new FOLDER."""
    from triton_kit.project.scaffold import scaffold

    scaffold(recipe, folder)
    echo(f"{folder} is ready.")
    notice(f"Next: triton-kit build {shlex.quote(str(folder))}")
