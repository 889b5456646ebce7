"""Charts become figures of plotly.js; its colours follow the page, in report.js."""

from __future__ import annotations

import math
from typing import Any  # JSON

from triton_kit.report.document import Chart, Series, Value

_NAME = 22
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "pentagon")
_DASHES = ("solid", "dash", "dot", "dashdot")


def figure(chart: Chart) -> dict[str, Any]:
    """Return the traces and the layout of a chart, as JSON."""
    has_legend = len(chart.series) > 1
    return {
        "data": [_trace(chart, s, index) for index, s in enumerate(chart.series)],
        "layout": {
            "xaxis": _axis(chart.x_title, chart.x_scale) | _short_names(chart),
            "yaxis": _axis(chart.y_title, chart.y_scale)
            | ({} if chart.y_scale == "log" else {"rangemode": "tozero"}),
            "barmode": "stack" if chart.is_stacked else "group",
            "showlegend": has_legend,
            "shapes": [_line(mark.axis, mark.at) for mark in chart.marks],
            "annotations": [
                {
                    "text": plain(mark.text),
                    "showarrow": False,
                    **_place(chart, mark.axis, mark.at),
                }
                for mark in chart.marks
            ],
        },
    }


def _axis(title: str, scale: str) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": plain(title)}, "automargin": True}
    return axis | ({"type": scale} if scale != "linear" else {})


def _short_names(chart: Chart) -> dict[str, Any]:
    """Keep long names below bars short, or they take the room of the bars."""
    names = list(dict.fromkeys(str(x) for series in chart.series for x in series.x))
    if chart.x_scale != "category" or max(map(len, names), default=0) <= _NAME:
        return {}
    half = _NAME // 2
    short = [n if len(n) <= _NAME else f"{n[: half - 1]}…{n[-half:]}" for n in names]
    return {
        "tickvals": [plain(n) for n in names],
        "ticktext": [plain(n) for n in short],
    }


def _trace(chart: Chart, series: Series, index: int) -> dict[str, Any]:
    what = "<br>%{text}" if series.labels else ""
    trace: dict[str, Any] = {
        "name": plain(series.name),
        "x": [_value(x) for x in series.x],
        "y": [_value(y) for y in series.y],
        "hovertemplate": f"{plain(chart.y_title)}: <b>%{{y}}</b><br>"
        f"{plain(chart.x_title)}: %{{x}}{what}",
        # report.js puts the colour of the page in its place.
        "meta": {"color": "star" if series.is_star else index % 8 + 1},
    }
    if series.labels:
        trace["text"] = [plain(label) for label in series.labels]
    if series.kind == "bar":
        return trace | {"type": "bar", "textposition": "none"}
    trace |= {
        "type": "scatter",
        "mode": {"points": "markers", "line": "lines+markers"}[series.kind],
        "marker": {
            "symbol": "star" if series.is_star else _SYMBOLS[index % len(_SYMBOLS)],
            "size": 15 if series.is_star else 5 if series.kind == "line" else 8,
        },
    }
    if series.is_dashed:
        return trace | {"mode": "lines", "line": {"dash": "dot", "width": 1.5}}
    return trace | {"line": {"dash": _DASHES[index // 2 % len(_DASHES)], "width": 2}}


def _value(value: Value) -> Value:
    """Return a number with the digits that a chart can show."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return plain(value) if isinstance(value, str) else value


def _line(axis: str, at: float) -> dict[str, Any]:
    other = "y" if axis == "x" else "x"
    return {
        "type": "line",
        f"{axis}0": at,
        f"{axis}1": at,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": "paper",
        "line": {"dash": "dash", "width": 1.5},
    }


def _place(chart: Chart, axis: str, at: float) -> dict[str, Any]:
    """Return where the text of a mark stands: at the end of its line."""
    scale = chart.x_scale if axis == "x" else chart.y_scale
    place = math.log10(at) if scale == "log" and at > 0 else at
    if axis == "x":
        return {"x": place, "y": 1, "yref": "paper", "yanchor": "bottom"}
    return {
        "x": 1,
        "xref": "paper",
        "xanchor": "right",
        "y": place,
        "yanchor": "bottom",
    }


def plain(text: str) -> str:
    """Return text that plotly.js shows as it is: it knows some tags of HTML."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(escaped.splitlines())
