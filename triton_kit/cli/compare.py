"""`triton-kit compare`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import PATH_TO_READ, json_option
from triton_kit.cli.output import echo


@kit_command(
    examples=(
        "triton-kit compare before.json after.json",
        "triton-kit compare main.json branch.json --fail-if 'p99>+5%,throughput<-3%'",
        "triton-kit compare main.json branch.json --format markdown",
        "triton-kit compare tune-1/result.json tune-2/result.json",
    )
)
@cloup.argument("before", type=PATH_TO_READ, help="A JSON result of perf, or of tune.")
@cloup.argument("after", type=PATH_TO_READ, help="Another one.")
@kit_option(
    "--fail-if",
    metavar="FIGURE>+N%,...",
    help="Changes to fail at, such as p99>+5%,throughput<-3%,errors>+0.1%.",
)
@kit_option(
    "--confidence",
    type=click.FloatRange(min=50, max=99.999),
    default=95.0,
    metavar="PERCENT",
    help="That no figure at all is called a change by chance.",
)
@kit_option(
    "--allow-differences",
    is_flag=True,
    help="Compare results of different models, loads or machines.",
)
@json_option()
@kit_option(
    "--format",
    "layout",
    type=click.Choice(["text", "json", "markdown", "junit"]),
    default="text",
    help="Layout of the report.",
)
def command(
    before: Path,
    after: Path,
    *,
    fail_if: str | None,
    confidence: float,
    allow_differences: bool,
    as_json: bool,
    layout: str,
) -> None:
    """Compare two results of perf or tune, with intervals (guide: docs/compare.md).

    Exits with 1 if a change fails --fail-if, else with 0.
    """
    from triton_kit.comparison.conditions import judge, parse_conditions
    from triton_kit.comparison.differences import compare_results
    from triton_kit.comparison.report import FORMATS
    from triton_kit.comparison.result_file import read_result

    conditions = parse_conditions(fail_if) if fail_if is not None else ()
    comparison = compare_results(
        read_result(before),
        read_result(after),
        figures=[condition.figure for condition in conditions],
        confidence=confidence / 100,
        allow_differences=allow_differences,
    )
    judgements = judge(comparison, conditions)
    echo(FORMATS["json" if as_json else layout](comparison, judgements))
    sys.exit(1 if any(judgement.failure for judgement in judgements) else 0)
