"""A report as data: sections of charts and tables, drawn by one module per format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Value = float | str | None
SeriesKind = Literal["line", "points", "bar"]
Scale = Literal["linear", "log", "category"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values of one name in a chart.

    Attributes:
        x, y: as many of the one as of the other; a `y` of None is a gap.
        labels: what each point is, such as its load; empty: nothing to say.
        is_dashed: whether the line is a guide, such as a Pareto front.
        is_star: whether its points are the winner's.
    """

    name: str
    x: Sequence[Value]
    y: Sequence[float | None]
    kind: SeriesKind = "line"
    labels: Sequence[str] = ()
    is_dashed: bool = False
    is_star: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A straight line across a chart, such as an objective."""

    axis: Literal["x", "y"]
    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart.

    Attributes:
        title: what it shows.
        says: what a reader sees in it, in a sentence.
        x_title, y_title: quantity and unit.
        is_stacked: whether bars at one place stand on each other.
        notes: what is marked, or left out.
    """

    title: str
    says: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    is_stacked: bool = False
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        """Return every value of the chart, as a table."""
        has_labels = any(series.labels for series in self.series)
        head = ["Series", *(["What"] if has_labels else []), self.x_title, self.y_title]
        rows = []
        for series in self.series:
            labels = series.labels or [""] * len(series.x)
            for x, y, label in zip(series.x, series.y, labels, strict=True):
                rows.append((series.name, *([label] if has_labels else []), x, y))
        return Table(title=self.title, columns=tuple(head), rows=tuple(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of texts and numbers; None is an empty cell."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A command or a difference, to be shown as it is."""

    title: str
    text: str
    is_diff: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a report with a heading of its own."""

    title: str
    lines: tuple[str, ...] = ()
    parts: tuple[Chart | Table | Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole report.

    Attributes:
        title: what was measured.
        summary: the result first, a sentence each.
        warnings: what a reader must know before any figure.
    """

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Every chart, in order."""
        return tuple(
            part
            for section in self.sections
            for part in section.parts
            if isinstance(part, Chart)
        )


def shown(value: Value) -> str:
    """Return a value for people: about four digits, and commas."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.1f}"
    return f"{value:.4g}" if size >= 1e-3 else f"{value:.2e}"
