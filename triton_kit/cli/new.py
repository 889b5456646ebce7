"""`triton-kit new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import FILE_TO_READ, PATH_TO_WRITE, json_option
from triton_kit.cli.output import echo, echo_json, notice


def _recipes(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Complete the name of a recipe."""
    from triton_kit.project.scaffold import recipes

    return [name for name in recipes() if name.startswith(typed)]


@kit_command(
    examples=(
        "triton-kit new --list",
        "triton-kit new digits my-project",
        "triton-kit new --from detector.onnx my-project",
    )
)
@cloup.argument(
    "recipe",
    required=False,
    shell_complete=_recipes,
    help="The example to start from, such as digits.",
)
@cloup.argument(
    "folder", required=False, type=PATH_TO_WRITE, help="A new or empty folder."
)
@kit_option(
    "--from",
    "model",
    type=FILE_TO_READ,
    metavar="MODEL.onnx",
    help="Write a project around this ONNX model, instead of a recipe.",
)
@kit_option("--list", "is_list", is_flag=True, help="List the recipes.")
@json_option("Print the list of recipes as JSON.")
def command(
    recipe: str | None,
    folder: Path | None,
    *,
    model: Path | None,
    is_list: bool,
    as_json: bool,
) -> None:
    """Write the project RECIPE into the new FOLDER.

    The README.md of the project says what it shows and how to run it.
    """
    from triton_kit.project.scaffold import recipes, scaffold

    if as_json and not is_list:
        raise click.UsageError("--json goes with --list")
    if is_list:
        if recipe is not None or model is not None:
            raise click.UsageError("--list takes no recipe, model or folder")
        _list(recipes(), as_json=as_json)
        return
    if model is not None:
        from triton_kit.model_project import write_model_project

        folder = _folder_alone(recipe, folder)
        write_model_project(model, folder)
    elif recipe is None or folder is None:
        raise click.UsageError("name a recipe and a new folder, or --list")
    else:
        scaffold(recipe, folder)
    echo(f"{folder} is ready.")
    notice(f"Next: triton-kit build {shlex.quote(str(folder))}")


def _folder_alone(first: str | None, second: Path | None) -> Path:
    """Return the only argument of `new --from MODEL.onnx FOLDER`."""
    if first is None or second is not None:
        raise click.UsageError("--from MODEL.onnx takes a new folder, and no recipe")
    return Path(first)


def _list(known: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        echo_json([{"name": name, "shows": shows} for name, shows in known.items()])
        return
    width = max(map(len, known))
    for name, shows in known.items():
        echo(f"{name:{width}}  {shows}")
