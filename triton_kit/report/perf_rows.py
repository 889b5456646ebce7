"""The runs of all results of perf side by side, and the one that did best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from triton_kit.errors import SpecError
from triton_kit.loadtest.results.slo import Objective, parse_slo
from triton_kit.report.result_files import Source
from triton_kit.report.views import PerfView, ReportRun

MOST_SHOWN = 8
_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9", "p99.99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of one result.

    Attributes:
        source: the name of the result.
        label: the load in words; with several results or rounds, which one it is.
    """

    source: str
    label: str
    run: ReportRun

    @property
    def has_latency(self) -> bool:
        """Whether any request succeeded, so that there is a latency."""
        return self.run.requests > self.run.errors and self.run.throughput > 0

    def ms(self, figure: str) -> float | None:
        """Return a figure of the latency in milliseconds."""
        value = self.run.latency_us.get(figure)
        return value / 1e3 if self.has_latency and value is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Every run, in the order of the files.

    Attributes:
        objectives: those of all results; empty if they do not have the same.
        percentile: the figure of the latency that counts, such as `p99`.
        best: the run with the most throughput of those that keep every objective.
    """

    rows: tuple[Row, ...]
    sources: tuple[str, ...]
    objectives: tuple[Objective, ...]
    percentile: str
    best: Row | None

    @property
    def whole(self) -> tuple[Row, ...]:
        """The runs that have a latency."""
        return tuple(row for row in self.rows if row.has_latency)

    @property
    def shown(self) -> tuple[Row, ...]:
        """At most MOST_SHOWN of them, the best among them, spread over all."""
        return few(self.whole, self.best)

    def bound_ms(self) -> list[tuple[str, float]]:
        """Return text and bound of each objective on the percentile that counts."""
        return [
            (objective.text, objective.bound / 1e3)
            for objective in self.objectives
            if _figure(objective) == self.percentile
        ]


def gather(sources: Sequence[Source]) -> Rows:
    """Return the runs of all results of perf."""
    perfs = [(s.name, s.view) for s in sources if isinstance(s.view, PerfView)]
    has_names = len(perfs) > 1
    rows = tuple(
        Row(source=name, label=f"{name}: {label}" if has_names else label, run=run)
        for name, view in perfs
        for label, run in zip(_labels(view.runs), view.runs, strict=True)
    )
    texts = {tuple(map(str, view.spec.get("slo") or ())) for _, view in perfs}
    objectives = _objectives(texts.pop()) if len(texts) == 1 else ()
    figures = [figure for o in objectives if (figure := _figure(o))]
    percentile = figures[0] if figures else "p99"
    able = [row for row in rows if row.has_latency and not row.run.ended_early]
    meeting = [row for row in able if row.run.meets_slo]
    best = max(meeting, key=lambda row: row.run.throughput, default=None)
    return Rows(
        rows=rows,
        sources=tuple(name for name, _ in perfs),
        objectives=objectives,
        percentile=percentile,
        best=best,
    )


def few(rows: Sequence[Row], best: Row | None) -> tuple[Row, ...]:
    """Return at most MOST_SHOWN rows, spread over all, with the best among them."""
    if len(rows) <= MOST_SHOWN:
        return tuple(rows)
    step = (len(rows) - 1) / (MOST_SHOWN - 1)
    kept = {round(index * step) for index in range(MOST_SHOWN)}
    if best in rows:
        place = rows.index(best)
        kept.discard(min(kept, key=lambda index: abs(index - place)))
        kept.add(place)
    return tuple(rows[index] for index in sorted(kept))


def pareto(rows: Sequence[Row], figure: str) -> list[Row]:
    """Return the rows that no other beats in throughput and latency alike."""
    front: list[Row] = []
    lowest = math.inf
    for row in sorted(rows, key=lambda row: -row.run.throughput):
        latency = row.ms(figure)
        if latency is not None and latency < lowest:
            front.append(row)
            lowest = latency
    return front[::-1]


def _labels(runs: Sequence[ReportRun]) -> list[str]:
    """Return the load of each run; of repeated ones also which round it is."""
    names = _without_common([run.name for run in runs])
    total, seen = Counter(names), Counter[str]()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(f"{name}, round {seen[name]}" if total[name] > 1 else name)
    return labels


def _without_common(labels: list[str]) -> list[str]:
    """Drop the first words that all labels share, such as `closed`."""
    parts = [label.split(", ") for label in labels]
    while len(set(labels)) > 1 and min(map(len, parts)) > 1:
        if len({each[0] for each in parts}) > 1:
            break
        parts = [each[1:] for each in parts]
    return [", ".join(each) for each in parts]


def _objectives(texts: Sequence[str]) -> tuple[Objective, ...]:
    try:
        return parse_slo(",".join(texts)) if texts else ()
    except SpecError:  # written by a later version
        return ()


def _figure(objective: Objective) -> str:
    """Return the figure of the latency that an objective is about; empty if none."""
    if objective.what != "latency":
        return ""
    name = "mean" if objective.share is None else f"p{100 * objective.share:.10g}"
    return name if name in (*_PERCENTILES, "mean") else ""
