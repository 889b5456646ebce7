"""The table of a result, on a terminal or as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triton_kit.cli.output import console, echo, notice

if TYPE_CHECKING:
    from triton_kit.loadtest.results.result import PerfResult


def print_result(result: PerfResult, *, stderr: bool) -> None:
    """Print a table that fits the terminal, or columns of plain text elsewhere."""
    from rich.table import Table

    from triton_kit.loadtest.results import table

    screen = console(stderr=stderr)
    if not screen.is_terminal:
        (notice if stderr else echo)(table.plain(result))
        return
    shown = Table(title=f"{result.model['name']} on {result.spec['url']}")
    for index, head in enumerate(table.columns()):
        shown.add_column(head, justify="right" if index else "left")
    for row in table.rows(result):
        shown.add_row(*row)
    screen.print(shown)
    for line in table.remarks(result):
        screen.print(line, style="yellow", markup=False)
