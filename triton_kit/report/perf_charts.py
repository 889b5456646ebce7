"""Runs of perf as charts of throughput, latency, stages, batches, errors and CPU."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from triton_kit.report.document import Chart, Mark, Series, shown
from triton_kit.report.perf_rows import Row, Rows, few, pareto
from triton_kit.report.resource_charts import busy_over_time, memory_over_time

PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9", "p99.99")
_STAGES = (
    ("queue", ("queue",)),
    ("compute", ("compute_input", "compute_infer", "compute_output")),
)
_LATENCY = "Latency (ms)"
_LABELLED = 500


def perf_charts(rows: Rows) -> tuple[Chart, ...]:
    """Return every chart that the runs have figures for."""
    makers = (
        throughput_against_latency,
        latency_by_load,
        percentiles,
        histogram,
        distribution,
        over_time,
        stages,
        batch_sizes,
        errors,
        cpu,
        gpu,
        busy_over_time,
        memory_over_time,
    )
    return tuple(chart for make in makers if (chart := make(rows)))


def throughput_against_latency(rows: Rows) -> Chart | None:
    """Return each run as a point, with the Pareto front and the winner."""
    if len(rows.whole) < 2:
        return None
    figure = rows.percentile
    series = []
    for source in rows.sources:
        points = [row for row in rows.whole if row.source == source]
        name = source if len(rows.sources) > 1 else "loads"
        if points and len(rows.sources) <= 4 * 2:
            series.append(_points(points, figure, name=name))
    if not series:
        series = [_points(rows.whole, figure, name=f"{len(rows.sources)} results")]
    front = pareto(rows.whole, figure)
    if len(front) > 1:
        points_of_front = _points(front, figure, name="Pareto front", is_dashed=True)
        series.append(points_of_front)
    if rows.best:
        series.append(_points([rows.best], figure, name="best", is_star=True))
    says = f"{len(rows.whole)} loads; further right and lower is better."
    if rows.best:
        says += f" The star is the best: {_load(rows.best, figure)}."
    return Chart(
        title="Throughput against latency",
        says=says,
        x_title="Throughput (inferences/s)",
        y_title=f"{figure} latency (ms)",
        series=tuple(series),
        marks=tuple(Mark("y", at, text) for text, at in rows.bound_ms()),
    )


def _points(
    rows: Iterable[Row],
    figure: str,
    *,
    name: str,
    is_dashed: bool = False,
    is_star: bool = False,
) -> Series:
    kept = [(row, row.ms(figure)) for row in rows]
    return Series(
        name=name,
        x=[row.run.throughput for row, _ in kept],
        y=[ms for _, ms in kept],
        kind="line" if is_dashed else "points",
        labels=[row.label for row, _ in kept],
        is_dashed=is_dashed,
        is_star=is_star,
    )


def _load(row: Row, figure: str) -> str:
    return (
        f"{row.label} with {shown(row.run.throughput)} inferences/s at "
        f"{figure} {shown(row.ms(figure))} ms"
    )


def latency_by_load(rows: Rows) -> Chart | None:
    """Return percentiles over the loads, where there are too many for lines."""
    whole = rows.whole
    if len(whole) < 3:
        return None
    numbers = [float(index) for index in range(1, len(whole) + 1)]
    # The number of a load is enough where there are many.
    labels = [row.label for row in whole] if len(whole) <= _LABELLED else []
    return Chart(
        title="Latency of each load",
        says=f"Percentiles of {len(whole)} loads, in the order of the results.",
        x_title="Load (number in the order of the table)",
        y_title=_LATENCY,
        series=tuple(
            Series(
                name=name, x=numbers, y=[row.ms(name) for row in whole], labels=labels
            )
            for name in ("p50", "p90", "p99")
        ),
        marks=tuple(Mark("y", at, text) for text, at in rows.bound_ms()),
    )


def percentiles(rows: Rows) -> Chart | None:
    """Return the percentiles of each load that is shown."""
    if not rows.shown:
        return None
    row = rows.best or rows.shown[0]
    return Chart(
        title="Latency percentiles",
        says=f"Of {row.label}: half of the requests take at most "
        f"{shown(row.ms('p50'))} ms, 99 of 100 at most {shown(row.ms('p99'))} ms.",
        x_title="Percentile",
        y_title=_LATENCY,
        x_scale="category",
        y_scale="log",
        series=tuple(
            Series(name=row.label, x=PERCENTILES, y=[row.ms(p) for p in PERCENTILES])
            for row in rows.shown
        ),
        notes=_left_out(rows),
    )


def histogram(rows: Rows) -> Chart | None:
    """Return the histogram of the best load."""
    row = rows.best or (rows.whole[0] if rows.whole else None)
    if row is None or not row.run.latency_histogram_us.count:
        return None
    upper, counts = _groups(row)
    total = sum(counts)
    most = max(range(len(counts)), key=counts.__getitem__)
    return Chart(
        title="Latency histogram",
        says=f"{shown(float(total))} requests of {row.label}; most took about "
        f"{shown(upper[most])} ms.",
        x_title="Latency up to (ms)",
        y_title="Requests (%)",
        x_scale="log",
        series=(
            Series(
                name="requests",
                x=upper,
                y=[100 * count / total for count in counts],
                kind="points" if len(counts) < 3 else "line",
            ),
        ),
    )


def distribution(rows: Rows) -> Chart | None:
    """Return the share of requests by the longest time that they took, by load."""
    kept = [row for row in rows.whole if row.run.latency_histogram_us.count]
    series = []
    for row in few(kept, rows.best):
        upper, counts = _groups(row)
        total = sum(counts)
        shares = [100 * count / total for count in accumulate(counts)]
        series.append(Series(name=row.label, x=upper, y=shares))
    if not series:
        return None
    return Chart(
        title="Distribution of latency",
        says="Share of requests that took at most this long; further left is better.",
        x_title=_LATENCY,
        y_title="Requests (%)",
        x_scale="log",
        series=tuple(series),
        marks=tuple(Mark("x", at, text) for text, at in rows.bound_ms()),
        notes=_left_out(rows),
    )


def _groups(row: Row) -> tuple[list[float], list[int]]:
    groups = row.run.latency_histogram_us
    return [us / 1e3 for us in groups.upper], groups.count


def over_time(rows: Rows) -> Chart | None:
    """Return the latency of each window, and what disturbed the run."""
    kept = [row for row in rows.shown if len(row.run.time_windows) > 1]
    if not kept:
        return None
    figures = ("p50", "p99") if len(kept) == 1 else (rows.percentile,)
    marks = []
    series = []
    for row in kept:
        ends = list(accumulate(w.length_s for w in row.run.time_windows))
        for figure in figures:
            ms = [w.latency_us.get(figure, 0.0) / 1e3 for w in row.run.time_windows]
            name = figure if len(kept) == 1 else row.label
            series.append(Series(name=name, x=ends, y=ms))
        marks += [
            Mark("x", end, f"{window.errors} failed")
            for end, window in zip(ends, row.run.time_windows, strict=True)
            if window.errors and len(kept) == 1
        ]
    disturbed = [
        f"{row.label}: {kind}: {reason}"
        for row in kept
        for kind, reason in row.run.findings
        if kind in ("disturbed", "unstable")
    ]
    return Chart(
        title="Latency over time",
        says=f"{' and '.join(figures)} of each window; a flat line is a stable run.",
        x_title="Seconds since the measurement began",
        y_title=_LATENCY,
        series=tuple(series),
        marks=tuple(marks),
        notes=(*disturbed, *_left_out(rows)),
    )


def stages(rows: Rows) -> Chart | None:
    """Return how long a request is in each stage: queue, compute, network."""
    kept = [row for row in rows.shown if row.run.server]
    if not kept:
        return None
    times: dict[str, list[float | None]] = {}
    for place, row in enumerate(kept):
        for name, ms in _stage_times(row).items():
            times.setdefault(name, [None] * len(kept))[place] = ms
    labels = [row.label for row in kept]
    first = {name: values[0] or 0.0 for name, values in times.items()}
    longest = max(first, key=lambda name: first[name])
    return Chart(
        title="Time per stage",
        says=f"Mean time of a request. Of {labels[0]}, the longest is {longest}: "
        f"{shown(first[longest])} ms.",
        x_title="Load",
        y_title="Mean time (ms)",
        x_scale="category",
        series=tuple(
            Series(name=name, x=labels, y=values, kind="bar")
            for name, values in times.items()
        ),
        is_stacked=True,
        notes=_left_out(rows),
    )


def _stage_times(row: Row) -> dict[str, float]:
    whole, *steps = row.run.server
    times = {}
    for part in steps or [whole]:
        for stage, keys in _STAGES:
            name = f"{part.model}: {stage}"
            times[name] = sum(part.mean_us.get(key, 0.0) for key in keys) / 1e3
    outside_us = row.run.latency_us.get("mean", 0.0) - whole.mean_us.get("request", 0.0)
    return times | {"network and client": max(outside_us / 1e3, 0.0)}


def batch_sizes(rows: Rows) -> Chart | None:
    """Return how large the batches were that the server computed."""
    kept = [row for row in rows.shown if any(p.batch_sizes for p in row.run.server)]
    series = []
    for row in kept:
        for part in row.run.server:
            total = sum(part.batch_sizes.values())
            sizes = sorted(part.batch_sizes.items(), key=lambda entry: int(entry[0]))
            shares: list[float | None] = [100 * count / total for _, count in sizes]
            if total:
                name = part.model if len(kept) == 1 else f"{part.model}, {row.label}"
                x = [size for size, _ in sizes]
                series.append(Series(name=name, x=x, y=shares, kind="bar"))
    if not series:
        return None
    return Chart(
        title="Batch sizes",
        says="Share of the executions by the size of their batch.",
        x_title="Batch size",
        y_title="Executions (%)",
        x_scale="category",
        series=tuple(series),
        notes=_left_out(rows),
    )


def errors(rows: Rows) -> Chart | None:
    """Return how many requests failed, by kind."""
    kept = few([row for row in rows.rows if row.run.errors_by_kind], rows.best)
    if not kept:
        return None
    failed = sum(row.run.errors for row in rows.rows)
    return Chart(
        title="Errors by kind",
        says=f"{shown(float(failed))} requests failed in all loads.",
        x_title="Kind",
        y_title="Requests",
        x_scale="category",
        series=tuple(
            Series(
                name=row.label,
                x=[error.kind for error in row.run.errors_by_kind],
                y=[float(error.count) for error in row.run.errors_by_kind],
                kind="bar",
                labels=[error.example or "" for error in row.run.errors_by_kind],
            )
            for row in kept
        ),
    )


def cpu(rows: Rows) -> Chart | None:
    """Return who used the CPU during each load."""
    kept = rows.shown
    cores: dict[str, list[float | None]] = {
        "server": [_server_cores(row) for row in kept],
        "client": [row.run.client_cores for row in kept],
        "other processes": [row.run.foreign_cores for row in kept],
        "taken by the host": [row.run.stolen_cores for row in kept],
    }
    known = {name: values for name, values in cores.items() if any(values)}
    if not known:
        return None
    labels = [row.label for row in kept]
    return Chart(
        title="CPU",
        says="Mean number of cores in use during each load.",
        x_title="Load",
        y_title="Cores",
        x_scale="category",
        series=tuple(
            Series(name=name, x=labels, y=values, kind="bar")
            for name, values in known.items()
        ),
        is_stacked=True,
        notes=_left_out(rows),
    )


def _server_cores(row: Row) -> float | None:
    if row.run.server_cores is not None:
        return row.run.server_cores
    length_s = sum(window.length_s for window in row.run.time_windows)
    used_s = row.run.server_cpu_s
    return used_s / length_s if used_s is not None and length_s else None


def gpu(rows: Rows) -> Chart | None:
    """Return the use of each GPU during each load."""
    kept = [row for row in rows.shown if row.run.gpus]
    names = sorted({gpu.gpu for row in kept for gpu in row.run.gpus})
    series = []
    for name in names:
        busy = [
            next((g.utilization for g in row.run.gpus if g.gpu == name), None)
            for row in kept
        ]
        shares = [None if share is None else 100 * share for share in busy]
        x = [row.label for row in kept]
        series.append(Series(name=f"GPU {name}", x=x, y=shares, kind="bar"))
    if not series:
        return None
    return Chart(
        title="GPU",
        says="Share of the time in which each GPU worked.",
        x_title="Load",
        y_title="Busy (%)",
        x_scale="category",
        series=tuple(series),
    )


def _left_out(rows: Rows) -> tuple[str, ...]:
    more = len(rows.whole) - len(rows.shown)
    if not more:
        return ()
    return (f"{len(rows.shown)} of {len(rows.whole)} loads; the table has all.",)
