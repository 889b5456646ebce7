"""`triton-kit generate`."""

from __future__ import annotations

from pathlib import Path

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import FILE_TO_READ, output_option
from triton_kit.cli.output import echo


@kit_command(
    examples=(
        "triton-kit generate model.onnx --dynamic-batching",
        "triton-kit generate models/net/1/model.onnx -o models/net/config.pbtxt",
    )
)
@cloup.argument("model", type=FILE_TO_READ, help="An ONNX file.")
@kit_option(
    "--name",
    metavar="NAME",
    help="Name of the model.  [default: that of its file or folder]",
)
@kit_option(
    "--max-batch-size",
    type=click.IntRange(min=0),
    metavar="N",
    help="0: the model has no batch axis.  [default: 8 where it has one, else 0]",
)
@kit_option(
    "--instances",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instances on the CPU.  [default: left to the server]",
)
@kit_option("--dynamic-batching", is_flag=True, help="Join requests into batches.")
@output_option("File to write.  [default: standard output]")
def command(
    model: Path,
    *,
    name: str | None,
    max_batch_size: int | None,
    instances: int | None,
    dynamic_batching: bool,
    output: Path | None,
) -> None:
    """Write a config.pbtxt for the ONNX file MODEL."""
    from triton_kit.files import write_whole
    from triton_kit.repository.config.render import render
    from triton_kit.repository.generate.generate import config_from_onnx

    config = config_from_onnx(
        model,
        name=name,
        max_batch_size=max_batch_size,
        instances=instances,
        dynamic_batching=dynamic_batching,
    )
    if output is None:
        echo(render(config), nl=False)
    else:
        write_whole(output, render(config))
