"""Writes the table of options into docs/perf-reference.md; run it as a script."""

import re
from pathlib import Path

import click

from triton_kit.cli.perf import command

PAGE = Path(__file__).parents[3] / "docs" / "perf-reference.md"
_SECTION = re.compile(
    r"(<!-- options: [^\n]*-->\n).*(<!-- /options -->)", re.MULTILINE | re.DOTALL
)


def options_table():
    """Return a table for each group of options, in the order of `--help`."""
    ctx = command.make_context("perf", [], resilient_parsing=True)
    groups = {}
    for param in command.params:
        is_shown = isinstance(param, click.Option) and not param.hidden
        group = getattr(param, "group", None)
        if is_shown and group is not None and not group.hidden:
            names, text = param.get_help_record(ctx)
            row = " | ".join(cell.replace("|", r"\|") for cell in (f"`{names}`", text))
            groups.setdefault(group.title, []).append(f"| {row} |")
    return "\n\n".join(
        "\n".join([f"### {title}", "", "| option | |", "|---|---|", *rows])
        for title, rows in groups.items()
    )


def page_with_options(text):
    """Return the page with the table of today's options."""
    return _SECTION.sub(lambda m: f"{m[1]}\n{options_table()}\n\n{m[2]}", text)


if __name__ == "__main__":
    PAGE.write_text(page_with_options(PAGE.read_text()))
