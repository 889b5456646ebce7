"""`triton-kit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triton_kit.cli.command import kit_command

_PATH = click.Path(path_type=Path)


@kit_command(epilog="Builder options and data files: docs/convert.md")
@click.argument("source")
@click.option("-o", "--output", required=True, type=_PATH, help="The folder to write.")
@click.option(
    "--format",
    type=click.Choice(["onnx", "plan", "rtx"]),
    default="onnx",
    show_default=True,
    help="ONNX, a TensorRT plan, or an engine of TensorRT for RTX.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16", "int8", "fp8", "auto"]),
    default="fp32",
    show_default=True,
    help="auto: the cheapest that passes the accuracy gate.",
)
@click.option(
    "--rest",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    help="Of what int8 and fp8 leave alone; fp16 for plans, fp32 for ONNX.",
)
@click.option(
    "--shapes",
    "--profiles",
    multiple=True,
    metavar="NAME:MIN,OPT,MAX",
    help="x:1x3x224x224,8x3x224x224,32x3x224x224. Once per input; an input that comes "
    "again begins the next profile.",
)
@click.option("--calibration", type=_PATH, metavar="NPZ", help="Samples for int8, fp8.")
@click.option(
    "--calibration-method",
    type=click.Choice(["minmax", "entropy", "percentile"]),
    default="minmax",
    show_default=True,
)
@click.option("--percentile", type=float, default=99.99, show_default=True)
@click.option(
    "--quantizer",
    type=click.Choice(["own", "modelopt"]),
    default="own",
    show_default=True,
    help="Who puts int8 or fp8 into the graph: the kit, or NVIDIA's ModelOpt "
    "(triton_kit[quantize], or TRITON_KIT_MODELOPT_PYTHON).",
)
@click.option(
    "--symmetric/--asymmetric",
    default=None,
    help="int8 ranges around zero, as TensorRT demands, or free, as CPUs like them.",
)
@click.option("--verify-data", type=_PATH, metavar="NPZ", help="Samples for the gate.")
@click.option("--min-snr-db", type=float, help="Instead of the precision's own floor.")
@click.option("--min-top1-agreement", type=float, help="A share, 0 to 1.")
@click.option("--min-cosine", type=float)
@click.option("--max-abs-error", type=float)
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME:LOW,HIGH",
    help="Bounds of an input's random values.",
)
@click.option("--keep-fp32", multiple=True, metavar="NODE", help="Or an operator.")
@click.option("--bisect", is_flag=True, help="Find the fewest nodes to keep in fp32.")
@click.option(
    "--pass",
    "passes",
    multiple=True,
    metavar="MODULE:FUNCTION",
    help="A graph pass: ModelProto in, ModelProto out.",
)
@click.option("--simplify/--no-simplify", default=True, show_default=True)
@click.option("--opset", type=int, help="Bring the graph to this opset first.")
@click.option("--sparsity", type=click.Choice(["2:4"]), help="Prune two of four.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the TensorRT builder, such as workspace=2G.",
)
@click.option("--release", metavar="YY.MM", help="The Triton release a plan is for.")
@click.option(
    "--dry-run", is_flag=True, help="Check all that needs no GPU; write nothing."
)
@click.option("--cache", type=_PATH, help="A folder of finished artifacts, by content.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--deadline", "deadline_s", type=float, default=600.0, show_default=True)
@click.option(
    "--json", "json_file", type=_PATH, help="Write the manifest here; - prints."
)
def command(output: Path, json_file: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Convert SOURCE into a verified artifact and its manifest.

    SOURCE is an .onnx, .pt2 or TorchScript .pt file, a SavedModel folder,
    package.module:function that returns a torch module and example inputs, or a
    finished plan.
    """
    from triton_kit.conversion.order import spec_from_options
    from triton_kit.conversion.pipeline import convert
    from triton_kit.conversion.results.manifest import as_text, write_text
    from triton_kit.conversion.results.summary import result_lines

    result = convert(spec_from_options(output, **given))
    if str(json_file) == "-":
        click.echo(as_text(result.manifest), nl=False)
        return
    if json_file:
        write_text(json_file, as_text(result.manifest))
    click.echo("\n".join(result_lines(result)))
