"""`triton-kit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import cloup

from triton_kit.cli.builder_option import BUILDER, run_with
from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.executor_option import EXECUTOR
from triton_kit.cli.options import PATH_TO_READ, json_option, output_option
from triton_kit.cli.output import echo, notice, show_stages
from triton_kit.cli.setting_options import option_groups, values_of
from triton_kit.options.conversion import ConversionSettings
from triton_kit.options.setting import settings_of

_SETTINGS = settings_of(ConversionSettings)
_EXAMPLES = (
    "triton-kit convert model.onnx -o out --precision fp16",
    "triton-kit convert model.onnx -o out --precision int8 --calibration samples.npz",
    "triton-kit convert model.onnx -o out --artifact plan --release 26.06",
)


def _existing_source(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Check a path now; `package.module:function` is found by its import."""
    if ":" not in value:
        PATH_TO_READ.convert(value, param, ctx)
    return value


@kit_command(
    examples=_EXAMPLES, epilog="Builder options and data files: docs/convert.md"
)
@cloup.argument("source", callback=_existing_source)
@output_option("Folder to write the artifact to.", required=True)
@option_groups(_SETTINGS)
@BUILDER
@EXECUTOR
@kit_option(
    "--compute-capability",
    metavar="X.Y",
    help="With --executor ray: of the GPU that a plan is for, such as 9.0. Nodes offer "
    "it as resource compute-9.0.",
)
@json_option("Print the manifest as JSON.")
def command(
    source: str,
    output: Path,
    plan_builder: str,
    executor: str,
    compute_capability: str | None,
    as_json: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Convert SOURCE into a verified artifact and its manifest.

    SOURCE is an .onnx, .pt2 or TorchScript .pt file, a SavedModel folder,
    package.module:function that returns a torch module and example inputs or a fitted
    estimator, a prebuilt plan, or hf:ORG/NAME or mlflow:models:/NAME/1 with an ONNX
    file.
    """
    from triton_kit.conversion.results.manifest import as_text
    from triton_kit.conversion.results.summary import result_lines
    from triton_kit.conversion.spec import spec_in_folder
    from triton_kit.execute.executors import conversion

    show_stages()
    spec = spec_in_folder(source, output, values_of(_SETTINGS, given))
    convert = conversion(executor, compute_capability)
    makes_plans = spec.format == "plan" and not spec.dry_run
    result = run_with(
        plan_builder,
        lambda: convert(spec),
        makes_plans=makes_plans,
        executor=executor,
    )
    (notice if as_json else echo)("\n".join(result_lines(result)))
    if as_json:
        echo(as_text(result.manifest), nl=False)
