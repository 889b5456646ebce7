"""The table of a result: as wide as the terminal, or with every column elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triton_kit.cli.output import console, echo, escape_controls, notice

if TYPE_CHECKING:
    from triton_kit.loadtest.results.result import PerfResult


def print_result(result: PerfResult, *, stderr: bool, histogram: bool) -> None:
    """Print the table, and what a reader must know beside it."""
    from triton_kit.loadtest.results import table
    from triton_kit.loadtest.results.remarks import histogram_lines, remarks

    screen = console(stderr=stderr)
    drawn = histogram_lines(result) if histogram else []
    if not screen.is_terminal:
        text = "\n".join([table.plain(result), *drawn])
        (notice if stderr else echo)(text)
        return
    title = f"{result.model['name']} on {result.spec['url']}"
    head, *rows = table.table_lines(result, width=screen.width)
    for line, style in (
        (title, "bold"),
        (head, "bold"),
        *((row, "") for row in rows),
        *((line, "yellow") for line in remarks(result)),
        *((line, "") for line in drawn),
    ):
        screen.print(escape_controls(line), style=style, markup=False)
