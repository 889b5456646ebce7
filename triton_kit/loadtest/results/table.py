"""A result as rows of text, for any terminal to lay out."""

from __future__ import annotations

from collections.abc import Callable

from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.record.stats import ModelStats
from triton_kit.loadtest.results.figures import Figures
from triton_kit.loadtest.results.result import PerfResult, Run

_SHOWN_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def _quantile(fraction: float) -> Callable[[Run | Figures], str]:
    return lambda run: _us(run.recording.latency.quantile_ns(fraction) / 1e3)


def _lag(run: Run | Figures) -> str:
    lag = run.recording.lag
    return f"{_us(lag.quantile_ns(0.5) / 1e3)}/{_us(lag.quantile_ns(0.99) / 1e3)}"


_COLUMNS: dict[str, Callable[[Run], str]] = {
    "load": lambda run: run.name,
    "infer/s": lambda run: f"{run.throughput:,.1f}",
    **{f"{name} us": _quantile(share) for name, share in _SHOWN_QUANTILES.items()},
    "lag p50/p99": _lag,
    "errors": lambda run: str(run.errors),
    "client us/req": lambda run: f"{run.client_cpu_us_per_request:.1f}",
    "verdict": lambda run: run.verdict.kind,
}


_PART_COLUMNS: dict[str, Callable[[Figures], str]] = {
    "load": lambda part: f"  {part.name}",
    "infer/s": lambda part: f"{part.throughput:,.1f}",
    **{f"{name} us": _quantile(share) for name, share in _SHOWN_QUANTILES.items()},
    "lag p50/p99": _lag,
    "errors": lambda part: str(part.recording.failed),
}


def columns() -> list[str]:
    """Return the heads of the columns; the first one names the load."""
    return list(_COLUMNS)


def rows(result: PerfResult) -> list[list[str]]:
    """Return one row per run, and below it one for each of its parts."""
    return [
        row
        for run in result.runs
        for row in (
            [show(run) for show in _COLUMNS.values()],
            *(_part_row(part) for part in run.models + run.levels),
        )
    ]


def _part_row(part: Figures) -> list[str]:
    """Return the row of a model or a level; what only a run has is left empty."""
    cells = {name: show(part) for name, show in _PART_COLUMNS.items()}
    return [cells.get(name, "") for name in _COLUMNS]


def remarks(result: PerfResult) -> list[str]:
    """Return what a reader must know beside the figures: what failed, and how."""
    lines = [
        f"{run.name}: {tally.count} x {kind}" + (f": {text}" if text else "")
        for run in result.runs
        for kind, tally in sorted(run.recording.errors.items())
        for text in [" ".join(tally.example.split())[:200]]
    ]
    lines += [
        f"{run.name}: misses {row['objective']}"
        for run, objectives in zip(result.runs, result.objectives, strict=True)
        for row in objectives
        if not row["is_met"]
    ]
    lines += [f"{run.name}: {run.verdict}" for run in result.runs if run.verdict.reason]
    lines += [
        f"{run.name}: {stats.model} on the server: {_stages(stats)}"
        for run in result.runs
        for stats in run.server
        if stats.requests
    ]
    lines += [
        f"{run.name}: {_replies(run.recording)}"
        for run in result.runs
        if run.recording.replies
    ]
    if result.spec["search"] != "every":
        found = result.highest_load_met or "none that was measured"
        lines.append(f"the highest load that meets the objectives: {found}")
    if result.was_interrupted:
        lines.append("interrupted: the last load was not measured to its end")
    return lines


def _replies(recording: Recording) -> str:
    """Say how many messages came in streams, and when."""
    said = [f"{recording.replies} replies"]
    for when, stretch in (
        ("first after", recording.to_first),
        ("then every", recording.between),
    ):
        if stretch.count:
            said.append(f"{when} p50 {_us(stretch.quantile_ns(0.5) / 1e3)} us")
    return ", ".join(said)


def _stages(stats: ModelStats) -> str:
    means = ", ".join(f"{name} {_us(us)} us" for name, us in stats.mean_us.items())
    batch = stats.inferences / stats.executions if stats.executions else 0.0
    return f"{means}; {batch:.1f} inferences per execution"


def plain(result: PerfResult) -> str:
    """Lay the rows out in columns of spaces."""
    table = [columns(), *rows(result)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    return "\n".join([*lines, *remarks(result)])


def _us(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
