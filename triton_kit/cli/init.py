"""`triton-kit init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import PATH_TO_READ, output_option
from triton_kit.cli.output import echo, notice


@kit_command(
    examples=(
        "triton-kit init detector.onnx tokenize.py",
        "triton-kit init models/net/1/model.onnx -o my-project",
    )
)
@cloup.argument(
    "models",
    nargs=-1,
    required=True,
    type=PATH_TO_READ,
    help="ONNX files, Python models, folders of either, or what `convert` reads.",
)
@output_option("Folder of the project.", default=".")
def command(models: tuple[Path, ...], *, output: Path) -> None:
    """Write a first triton-kit.yaml for MODELS: sources, shapes, batching."""
    from triton_kit.init_project import init_project

    file = init_project(models, output)
    echo(str(file))
    notice(f"Next: triton-kit build {shlex.quote(str(output))}")
