"""CPU, GPUs and memory over the time of one to eight loads, as charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate

from triton_kit.report.document import Chart, Mark, Series, Value
from triton_kit.report.perf_rows import MOST_SHOWN, Row, Rows
from triton_kit.report.views import GpuLevel, Resources

# Name of a line -> its value at a point.
Lines = Callable[[Resources], Mapping[str, float | None]]
_NOTE = "Of the machine of perf; of a server and GPUs as far as perf sees them."


def busy_over_time(rows: Rows) -> Chart | None:
    """Return the busy cores and GPUs: each a line."""
    return _chart(
        rows,
        _busy,
        title="CPU and GPU over time",
        says="Cores kept busy, and GPUs kept busy (1: one GPU that always works).",
        y_title="Busy cores or GPUs",
    )


def memory_over_time(rows: Rows) -> Chart | None:
    """Return the memory of the server and of each GPU: each a line."""
    return _chart(
        rows,
        _memory,
        title="Memory over time",
        says="Resident memory of the server's processes, and used memory of each GPU; "
        "a line that keeps rising may be a leak.",
        y_title="Memory (MiB)",
    )


def _busy(point: Resources) -> dict[str, float | None]:
    return {
        "server": point.server_cores,
        "client": point.client_cores,
        "other processes": point.foreign_cores,
        **{_name(gpu): gpu.utilization for gpu in point.gpus},
    }


def _memory(point: Resources) -> dict[str, float | None]:
    gpus = {_name(gpu): gpu.memory_used_mib for gpu in point.gpus}
    return {"server": point.server_memory_mib, **gpus}


def _name(gpu: GpuLevel) -> str:
    """Return the name of a GPU; most have a UUID that begins with `GPU-`."""
    return gpu.gpu if gpu.gpu.startswith("GPU") else f"GPU {gpu.gpu}"


def _chart(
    rows: Rows, lines: Lines, *, title: str, says: str, y_title: str
) -> Chart | None:
    kept = [row for row in rows.whole if len(row.run.resources) > 1]
    if not kept or len(rows.rows) > MOST_SHOWN:
        return None
    series = _series(kept, lines)
    if not series:
        return None
    if len(kept) == 1:
        return Chart(
            title=title,
            says=f"{says} Load: {kept[0].label}.",
            x_title="Seconds since the measurement began",
            y_title=y_title,
            series=series,
            notes=(_NOTE,),
        )
    # Names of loads would overlap at the marks.
    names = (f"{number}: {row.label}" for number, row in enumerate(kept, 1))
    return Chart(
        title=title,
        says=f"{says} Loads: {', '.join(names)}.",
        x_title="Seconds, one load after another",
        y_title=y_title,
        series=series,
        marks=tuple(
            Mark("x", at_s, str(number))
            for number, at_s in enumerate(_begins_s(kept), 1)
        ),
        notes=(_NOTE,),
    )


def _begins_s(kept: list[Row]) -> list[float]:
    """Return where each load begins, if one follows another."""
    ends_s = accumulate((row.run.resources[-1].at_s for row in kept), initial=0.0)
    return list(ends_s)[:-1]


def _series(kept: list[Row], lines: Lines) -> tuple[Series, ...]:
    """Return a line of each resource, with a gap between two loads."""
    points = [lines(point) for row in kept for point in row.run.resources]
    names = dict.fromkeys(name for point in points for name in point)
    x: list[Value] = []
    labels: list[str] = []
    y: dict[str, list[float | None]] = {name: [] for name in names}
    for row, begin_s in zip(kept, _begins_s(kept), strict=True):
        if x:
            x.append(begin_s)
            labels.append("")
            for values in y.values():
                values.append(None)
        for point in row.run.resources:
            x.append(begin_s + point.at_s)
            labels.append(row.label)
            found = lines(point)
            for name, values in y.items():
                values.append(found.get(name))
    return tuple(
        Series(name=name, x=x, y=values, labels=labels if len(kept) > 1 else ())
        for name, values in y.items()
        if any(value is not None for value in values)
    )
