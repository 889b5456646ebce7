"""`triton-kit demo`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import json_option, output_option
from triton_kit.cli.output import console, echo_json, notice, settings

if TYPE_CHECKING:
    from triton_kit.demo import DemoResult


@kit_command()
@output_option(
    "A new folder, or that of an earlier demo.", default="demo", metavar="FOLDER"
)
@json_option("Print the summary as one JSON document.")
def command(output: Path, *, as_json: bool) -> None:
    """Build, serve, score and load-test an example on the real tritonserver."""
    from triton_kit.demo import run_demo

    screen = console(stderr=True)
    if screen.is_terminal and not settings.quiet:
        with screen.status("") as status:
            result = run_demo(output, watch=partial(_watch, update=status.update))
    else:
        result = run_demo(output, watch=_watch)
    if as_json:
        echo_json(result.summary())
    else:
        _print(result)


def _watch(
    stage: str, seconds: float | None, *, update: Callable[[str], None] | None = None
) -> None:
    """Show a stage while it runs, and its time once it has ended."""
    if seconds is not None:
        notice(f"{seconds:6.1f} s  {stage}")
    elif update:
        update(stage)


def _print(result: DemoResult) -> None:
    from rich import box
    from rich.table import Table

    screen = console()
    table = Table(
        *("model", "load", "requests/s", "p50 us", "p99 us", "errors"),
        box=box.SIMPLE if screen.is_terminal else None,
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for model, load in result.loads.items():
        for run in load.runs:
            latency = run.as_json()["latency_us"]
            table.add_row(
                model,
                run.name,
                f"{run.requests_per_s:.0f}",
                f"{latency['p50']:.0f}",
                f"{latency['p99']:.0f}",
                str(run.errors),
            )
    screen.print(table)
    folder = result.folder
    repository = shlex.quote(str(folder / "model_repository"))
    screen.print(
        f"tritonserver {result.server_version}; {result.accuracy:.2%} of "
        f"{result.scored} test images classified correctly.\n"
        f"Summary: {folder / 'summary.json'}   Full results: {folder / 'results'}\n\n"
        "Next:\n"
        f"  triton-kit serve {repository}    keep the server running\n"
        "  triton-kit perf -m digits -u URL          measure it yourself\n"
        f"  edit {folder / 'triton-kit.yaml'}, then: triton-kit build "
        f"{shlex.quote(str(folder))}",
        soft_wrap=True,
        markup=False,
    )
