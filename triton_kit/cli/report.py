"""`triton-kit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import PATH_TO_READ, output_option
from triton_kit.cli.output import echo, notice

if TYPE_CHECKING:
    from triton_kit.report.write import Format


@kit_command(
    examples=(
        "triton-kit report result.json -o report.html",
        "triton-kit report before.json after.json -o report.html",
        "triton-kit report tune-digits --format png -o tune.png",
        "triton-kit report result.json --format text",
    )
)
@cloup.argument(
    "results",
    nargs=-1,
    required=True,
    type=PATH_TO_READ,
    help="Results of perf --json, tune or convert, or folders of them.",
)
@output_option(
    "File to write; one that exists is replaced. Default: report.html, .png or .svg; "
    "text and markdown go to standard output."
)
@kit_option(
    "--format",
    "layout",
    type=click.Choice(["html", "png", "svg", "markdown", "text"]),
    help="Format of the report. Default: by the name of -o, else html.",
)
@kit_option("--title", metavar="TEXT", help="Title. Default: what the results show.")
def command(
    results: tuple[Path, ...],
    *,
    output: Path | None,
    layout: Format | None,
    title: str | None,
) -> None:
    """Draw results of perf, tune and convert (guide: docs/report.md)."""
    from triton_kit.report.write import render_report, write_report

    if output is None and layout in ("markdown", "text"):
        echo(str(render_report(results, layout, title=title)), nl=False)
        return
    path = output or Path(f"report.{layout or 'html'}")
    write_report(results, path, format=layout, title=title)
    notice(f"wrote {path} ({path.stat().st_size / 1e3:,.0f} kB)")
