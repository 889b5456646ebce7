"""The figures of a recording, as they stand in the JSON result."""

from __future__ import annotations

from typing import Any

from triton_kit.loadtest.net.clock import NS_PER_US
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.record.recorder import Recording

QUANTILES = {
    "p50": 0.5,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p99.9": 0.999,
    "p99.99": 0.9999,
}


def quantiles_us(histogram: Histogram) -> dict[str, float]:
    """Return mean, deviation, extremes and quantiles in microseconds."""
    figures = {
        name: histogram.quantile_ns(fraction) for name, fraction in QUANTILES.items()
    }
    figures |= {
        "mean": histogram.mean_ns,
        "deviation": histogram.deviation_ns,
        "min": float(histogram.min_ns),
        "max": float(histogram.max_ns),
    }
    return {name: round(value / NS_PER_US, 3) for name, value in figures.items()}


def errors_by_kind(recording: Recording) -> list[dict[str, Any]]:
    """Return how many requests failed in each way, with an example."""
    return [
        {"kind": kind, "count": tally.count, "example": tally.example}
        for kind, tally in sorted(recording.errors.items())
    ]
