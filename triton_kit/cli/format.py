"""`triton-kit format`."""

from __future__ import annotations

import sys
from pathlib import Path

import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import PATH_TO_READ, json_option
from triton_kit.cli.output import echo, echo_json


@kit_command(
    examples=(
        "triton-kit format model_repository",
        "triton-kit format --check model_repository/*/config.pbtxt",
    )
)
@cloup.argument(
    "paths",
    nargs=-1,
    required=True,
    type=PATH_TO_READ,
    help="config.pbtxt files; of a folder, all that are in it.",
)
@kit_option("--check", is_flag=True, help="Write nothing; exit 1 if a file differs.")
@json_option()
def command(paths: tuple[Path, ...], *, check: bool, as_json: bool) -> None:
    """Rewrite config.pbtxt in the canonical layout; comments and the mode stay."""
    from triton_kit.repository.config.formatting import config_files, format_file

    files = [file for path in paths for file in config_files(path)]
    changed = [file for file in files if format_file(file, write=not check)]
    if as_json:
        echo_json({"files": [*map(str, files)], "changed": [*map(str, changed)]})
    else:
        for file in changed:
            echo(f"{'would format' if check else 'formatted'} {file}")
    sys.exit(1 if check and changed else 0)
