"""The figures of a run, or of one of its parts: a model among several, a level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triton_kit.loadtest.net.clock import NS_PER_US
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.record.recorder import Recording

# Enough to draw it; the file stays small.
HISTOGRAM_GROUPS = 48
QUANTILES = {
    "p50": 0.5,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p99.9": 0.999,
    "p99.99": 0.9999,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of a group of requests.

    Attributes:
        name: what the requests have in common, for people.
        which: the same as JSON.
        window_s: how long was measured.
        succeeded: successful responses within that time; throughput counts these.
        recording: all of these requests; responses after the window are included.
        inferences_per_request: the batch size; its mean where models differ.
    """

    name: str
    which: Mapping[str, Any]  # JSON
    window_s: float
    succeeded: int
    recording: Recording
    inferences_per_request: float

    @property
    def requests_per_s(self) -> float:
        """Successful responses per second."""
        return self.succeeded / self.window_s if self.window_s else 0.0

    @property
    def throughput(self) -> float:
        """Inferences per second: requests times batch size."""
        return self.requests_per_s * self.inferences_per_request

    def as_json(self) -> dict[str, Any]:
        """Return the figures as they stand in the JSON result."""
        recording = self.recording
        return {
            "throughput": self.throughput,
            "requests_per_s": self.requests_per_s,
            "window_s": self.window_s,
            "requests": recording.total,
            "latency_us": quantiles_us(recording.latency),
            "latency_from_send_us": quantiles_us(recording.from_send),
            "first_byte_us": quantiles_us(recording.to_first),
            "schedule_lag_us": quantiles_us(recording.lag),
            "errors": recording.failed,
            "errors_by_kind": [
                {"kind": kind, "count": tally.count, "example": tally.example}
                for kind, tally in sorted(recording.errors.items())
            ],
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


def histogram_us(histogram: Histogram) -> dict[str, list[float]]:
    """Return where each group of latencies ends, in microseconds, and its count."""
    ends_ns, counts = histogram.grouped_ns(HISTOGRAM_GROUPS)
    ends_us = [round(end / NS_PER_US, 3) for end in ends_ns.tolist()]
    return {"upper": ends_us, "count": counts.tolist()}
