"""`triton-kit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from triton_kit.cli.command import kit_command

if TYPE_CHECKING:
    from rich.console import Console

    from triton_kit.demo import DemoResult


@kit_command()
@click.option(
    "-o",
    "--output",
    default="demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="A new folder, or that of an earlier demo.",
)
def command(output: Path) -> None:
    """Build, serve, score and load-test an example on the real tritonserver."""
    from rich.console import Console

    from triton_kit.demo import run_demo

    console = Console(highlight=False)
    status = console.status("")

    def watch(stage: str, seconds: float | None) -> None:
        if seconds is None:
            status.update(stage)
        else:
            console.print(f"{seconds:6.1f} s  {stage}")

    with status:
        result = run_demo(output, watch=watch)
    _print(console, result)


def _print(console: Console, result: DemoResult) -> None:
    from rich import box
    from rich.table import Table

    table = Table(
        *("model", "load", "requests/s", "p50 us", "p99 us", "errors"),
        box=box.SIMPLE if console.is_terminal else None,
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
    console.print(table)
    folder = result.folder
    console.print(
        f"tritonserver {result.server_version}; {result.accuracy:.2%} of "
        f"{result.scored} held-back images read right.\n"
        f"Summary: {folder / 'summary.json'}   Full results: {folder / 'results'}\n\n"
        "Next:\n"
        f"  triton-kit serve {folder / 'model_repository'}    keep it running\n"
        "  triton-kit perf -m digits -u URL          measure it yourself\n"
        f"  edit {folder / 'triton-kit.yaml'}, then: triton-kit build {folder}",
        soft_wrap=True,
    )
