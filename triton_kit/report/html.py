"""A document becomes one HTML file that opens without a network."""

from __future__ import annotations

import re
from typing import Any  # what templates take

from triton_kit.report.document import Chart, Document, Table, shown
from triton_kit.report.page import read_asset, render_page
from triton_kit.report.plotly import figure

# A chart of more values refers to the table of loads, which has every one.
ROWS_OF_A_CHART = 200
# So that the file stays small.
ROWS_OF_A_TABLE = 2000
_ROWS_WITH_A_FILTER = 5


def as_html(document: Document) -> str:
    """Return the page."""
    charts = document.charts
    scripts = [read_asset("report.js")]
    if charts:
        scripts.insert(0, read_asset("plotly-basic.min.js"))
    numbers = {id(chart): number for number, chart in enumerate(charts)}
    return render_page(
        "report.html.j2",
        scripts=scripts,
        title=document.title,
        summary=document.summary,
        warnings=document.warnings,
        sections=[
            {
                "id": f"section-{number}",
                "title": section.title,
                "lines": section.lines,
                "charts": [
                    _chart(part, numbers[id(part)])
                    for part in section.parts
                    if isinstance(part, Chart)
                ],
                "others": [
                    _table(part, most=ROWS_OF_A_TABLE)
                    if isinstance(part, Table)
                    else {"block": part}
                    for part in section.parts
                    if not isinstance(part, Chart)
                ],
            }
            for number, section in enumerate(document.sections, 1)
        ],
        figures=[figure(chart) for chart in charts],
    )


def _chart(chart: Chart, number: int) -> dict[str, Any]:
    table = chart.table()
    return {
        "chart": chart,
        "number": number,
        "file": re.sub(r"[^a-z0-9]+", "-", chart.title.lower()),
        "table": _table(table, most=ROWS_OF_A_CHART),
    }


def _table(table: Table, *, most: int) -> dict[str, Any]:
    numeric = [
        any(isinstance(row[column], (int, float)) for row in table.rows)
        for column in range(len(table.columns))
    ]
    return {
        "title": table.title,
        "columns": list(zip(table.columns, numeric, strict=True)),
        "rows": [
            [
                (shown(value), is_number)
                for value, is_number in zip(row, numeric, strict=True)
            ]
            for row in table.rows[:most]
        ],
        "count": len(table.rows),
        "has_filter": len(table.rows) >= _ROWS_WITH_A_FILTER and any(numeric),
    }
