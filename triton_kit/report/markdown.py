"""A document becomes Markdown, for a pull request or a wiki."""

from __future__ import annotations

import re

from triton_kit.report.document import Block, Chart, Document, Table, shown

# What Markdown or the HTML in it would read as more than a text.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#&~])")
_ROWS = 200


def as_markdown(document: Document) -> str:
    """Return the summary, what each chart says, and every table."""
    lines = [f"# {_escape(document.title)}", ""]
    for sentence in document.summary:
        lines += [_escape(sentence), ""]
    for warning in document.warnings:
        lines += [f"> {_escape(warning)}", ""]
    for section in document.sections:
        lines += [f"## {_escape(section.title)}", ""]
        lines += [f"{_escape(line)}\n" for line in section.lines]
        charts = [part for part in section.parts if isinstance(part, Chart)]
        lines += [f"* **{_escape(c.title)}**: {_escape(c.says)}" for c in charts]
        lines += [""] if charts else []
        for part in section.parts:
            if isinstance(part, Table):
                lines += [f"### {_escape(part.title)}", "", *_table(part), ""]
            elif isinstance(part, Block):
                lines += [f"### {_escape(part.title)}", "", *_block(part), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(table: Table) -> list[str]:
    numeric = [
        any(isinstance(row[column], (int, float)) for row in table.rows)
        for column in range(len(table.columns))
    ]
    rows = [[_escape(shown(value)) for value in row] for row in table.rows[:_ROWS]]
    more = len(table.rows) - len(rows)
    head = [_escape(name) for name in table.columns]
    return [
        _row(head),
        _row(["---:" if is_number else "---" for is_number in numeric]),
        *map(_row, rows),
        *(["", f"{more} more rows are in the results."] if more > 0 else []),
    ]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _block(block: Block) -> list[str]:
    """Return a block of code whose fence is longer than any in its text."""
    longest = max(map(len, re.findall(r"`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{'diff' if block.is_diff else ''}", block.text, fence]


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.splitlines()))
