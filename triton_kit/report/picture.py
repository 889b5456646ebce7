"""The charts of a document become one picture, drawn by matplotlib without a screen."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any  # Any: matplotlib's axes, imported when used

from triton_kit.errors import MissingExtraError, SpecError
from triton_kit.report.document import Chart, Document, Series, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_COLORS = ("#0a66c2", "#c2410c", "#0f7b4a", "#a1279b", "#7a5d00", "#00707f", "#b3261e")
_MARKERS = "osD^XP*"
_INCHES = (6.4, 4.3)
_LABEL, _SUMMARY = 28, 100


def as_png(document: Document) -> bytes:
    """Return every chart in one PNG."""
    return _saved(document, "png", dpi=110)


def as_svg(document: Document) -> str:
    """Return every chart in one SVG, with texts as texts."""
    return _saved(document, "svg").decode()


def _saved(document: Document, kind: str, **settings: Any) -> bytes:  # noqa: ANN401
    if not document.charts:
        raise SpecError(
            "the results have no figure to draw",
            hint="--format html or markdown shows what they have",
        )
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra="report") from error
    file = io.BytesIO()
    # No date and no random ids: the same results, the same bytes.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "triton-kit", "font.size": 9}
    with mpl.rc_context(style | {"text.parse_math": False}):
        figure = _figure(document, Figure)
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(file, format=kind, metadata=metadata, **settings)
    return file.getvalue()


def _figure(document: Document, kind: type[Figure]) -> Figure:
    charts = document.charts
    columns = 1 if len(charts) == 1 else 2
    rows = -(-len(charts) // columns)
    size = (_INCHES[0] * columns, _INCHES[1] * rows + 0.8)
    figure = kind(figsize=size, layout="constrained")
    first = document.summary[0] if document.summary else ""
    figure.suptitle(f"{document.title}\n{_cut(first, _SUMMARY)}", fontsize=12)
    for place, chart in enumerate(charts, 1):
        _draw(figure.add_subplot(rows, columns, place), chart)
    return figure


def _draw(axes: Axes, chart: Chart) -> None:
    axes.set_title(chart.title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(chart.x_title)
    axes.set_ylabel(chart.y_title)
    axes.grid(visible=True, color="#d5dae0", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if chart.series and chart.series[0].kind == "bar":
        _bars(axes, chart)
    else:
        for index, series in enumerate(chart.series):
            _line(axes, series, index)
    for mark in chart.marks:
        line = axes.axhline if mark.axis == "y" else axes.axvline
        line(mark.at, color="#b3261e", linestyle="--", linewidth=1, label=mark.text)
    _scales(axes, chart)
    if len(chart.series) + len(chart.marks) > 1:
        # Beside the axes: inside, it would hide bars.
        axes.legend(
            fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0)
        )


def _scales(axes: Axes, chart: Chart) -> None:
    has_positive = any(y is not None and y > 0 for s in chart.series for y in s.y)
    if chart.x_scale == "log":
        axes.set_xscale("log")
        _plain_numbers(axes.xaxis)
    if chart.y_scale == "log" and has_positive:
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    elif chart.y_scale == "linear":
        axes.set_ylim(bottom=0)


def _plain_numbers(axis: Axis) -> None:
    """Write 0.1, 1 and 10: matplotlib's own powers are formulas, which are off."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axis.set_minor_formatter(NullFormatter())


def _line(axes: Axes, series: Series, index: int) -> None:
    color = "#b58900" if series.is_star else _COLORS[index % len(_COLORS)]
    marker = "*" if series.is_star else _MARKERS[index % len(_MARKERS)]
    style: dict[str, Any] = {"color": color, "label": _cut(series.name, _LABEL)}
    x: Any = [
        value if isinstance(value, float) else _cut(str(value), _LABEL)
        for value in series.x
    ]
    y: Any = [float("nan") if value is None else value for value in series.y]
    if series.is_dashed:
        axes.plot(x, y, linestyle=":", linewidth=1.2, **style)
    elif series.kind == "points":
        size = 13 if series.is_star else 5
        axes.plot(x, y, linestyle="", marker=marker, markersize=size, **style)
    else:
        axes.plot(x, y, marker=marker, markersize=3, linewidth=1.5, **style)


def _bars(axes: Axes, chart: Chart) -> None:
    """Draw bars side by side, or on each other."""
    names = list(dict.fromkeys(str(x) for series in chart.series for x in series.x))
    count = 1 if chart.is_stacked else len(chart.series)
    width = 0.8 / count
    tops = dict.fromkeys(names, 0.0)
    for index, series in enumerate(chart.series):
        offset = 0.0 if chart.is_stacked else (index - (count - 1) / 2) * width
        values = dict(zip(map(str, series.x), series.y, strict=True))
        heights = {name: value or 0.0 for name, value in values.items()}
        axes.bar(
            [names.index(name) + offset for name in heights],
            list(heights.values()),
            width,
            bottom=[tops[name] if chart.is_stacked else 0.0 for name in heights],
            color=_COLORS[index % len(_COLORS)],
            label=_cut(series.name, _LABEL),
        )
        for name, height in heights.items():
            tops[name] += height
    axes.set_xticks(range(len(names)), [_cut(name, _LABEL) for name in names])
    if sum(map(len, names)) > 60:
        axes.tick_params(axis="x", rotation=35, labelsize=7)


def _cut(text: str, most: int) -> str:
    line = " ".join(text.splitlines())
    return line if len(line) <= most else f"{line[: most - 1]}…"
