"""A document becomes text for a terminal, its charts drawn with bars."""

from __future__ import annotations

from collections.abc import Sequence

from triton_kit.report.document import (
    Block,
    Chart,
    Document,
    Series,
    Table,
    Value,
    shown,
)

_WIDTH = 40
_ROWS = 24
_NAME = 44
_EIGHTHS = " ▏▎▍▌▋▊▉"


def as_text(document: Document) -> str:
    """Return the summary, every chart as bars, and every table."""
    lines = [document.title, "=" * len(document.title), *document.summary]
    lines += [f"! {warning}" for warning in document.warnings]
    for section in document.sections:
        lines += ["", section.title, "-" * len(section.title), *section.lines]
        for part in section.parts:
            if isinstance(part, Chart):
                lines += ["", *_chart(part)]
            elif isinstance(part, Block):
                lines += ["", part.title, *(f"  {t}" for t in part.text.splitlines())]
            else:
                lines += ["", part.title, *_table(part)]
    return "\n".join(lines) + "\n"


def _chart(chart: Chart) -> list[str]:
    lines = [f"{chart.title} ({chart.y_title})", f"  {chart.says}"]
    values = [y for series in chart.series for y in series.y if y is not None]
    most = max(values, default=0.0)
    for series in chart.series:
        if len(chart.series) > 1:
            lines.append(f"  {series.name}")
        lines += _bars(series, most)
    lines += [
        f"  limit: {mark.text}"
        if mark.axis == "y"
        else f"  at {shown(mark.at)}: {mark.text}"
        for mark in chart.marks
    ]
    return [*lines, *(f"  {note}" for note in chart.notes)]


def _bars(series: Series, most: float) -> list[str]:
    rows = list(zip(series.x, series.y, strict=True))
    labels = series.labels if series.kind == "points" else ()
    kept = list(range(len(rows)))
    if len(rows) > _ROWS:
        step = (len(rows) - 1) / (_ROWS - 1)
        kept = sorted({round(index * step) for index in range(_ROWS)})
    names = [_short(labels[i] if labels else shown(rows[i][0])) for i in kept]
    width = max(map(len, names), default=0)
    return [
        f"    {name:{width}}  {shown(rows[i][1]):>8}  {_bar(rows[i][1], most)}".rstrip()
        for name, i in zip(names, kept, strict=True)
    ]


def _bar(value: float | None, most: float) -> str:
    if value is None or most <= 0 or value < 0:
        return ""
    eighths = round(value / most * _WIDTH * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _short(text: str) -> str:
    return text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"


def _table(table: Table) -> list[str]:
    kept = table.rows[:_ROWS]
    rows = [[_short(shown(v)) for v in row] for row in (table.columns, *kept)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [_side(column) for column in zip(*kept, strict=True)] or ["<"] * len(widths)
    lines = [
        "  ".join(
            f"{v:{side}{w}}" for v, side, w in zip(row, sides, widths, strict=True)
        )
        for row in rows
    ]
    more = len(table.rows) - len(kept)
    lines += [f"{more:,} more rows are in the other formats."] if more else []
    return [f"  {line}".rstrip() for line in lines]


def _side(column: Sequence[Value]) -> str:
    return ">" if any(isinstance(value, float) for value in column) else "<"
