"""Runs of the same load: their medians, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.units import duration, rate


def medians(runs: Sequence[Run]) -> list[str]:
    """Return a line for each load that was measured more than once."""
    by_load: dict[str, list[Run]] = {}
    for run in runs:
        by_load.setdefault(run.name, []).append(run)
    return [
        f"{name}: median of {len(same)} runs (lowest to highest): "
        + "; ".join(
            f"{figure} {_spread([of(run) for run in same], unit)}"
            for figure, of, unit in _FIGURES
        )
        for name, same in by_load.items()
        if len(same) > 1
    ]


def _spread(values: Sequence[float], unit: Callable[[float], str]) -> str:
    low, high = unit(min(values)), unit(max(values))
    return f"{unit(median(values))} ({low} to {high})"


def _quantile(share: float) -> Callable[[Run], float]:
    return lambda run: run.recording.latency.quantile_ns(share)


_Figure = tuple[str, Callable[[Run], float], Callable[[float], str]]
_FIGURES: tuple[_Figure, ...] = (
    ("infer/s", lambda run: run.throughput, rate),
    ("p50", _quantile(0.5), duration),
    ("p99", _quantile(0.99), duration),
)
