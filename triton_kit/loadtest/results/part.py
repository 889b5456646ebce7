"""The figures of one part of a run: of a model among several, or of a level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.results.figures import errors_by_kind, quantiles_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of a run's requests.

    Attributes:
        which: what they have in common, as JSON.
        name: the same in words.
        window_s: how long was measured.
        answered: good answers within that time.
        recording: these requests, those answered after the window included.
        inferences_per_request: the batch size.
    """

    which: Mapping[str, Any]  # JSON
    name: str
    window_s: float
    answered: int
    recording: Recording
    inferences_per_request: int

    @property
    def requests_per_s(self) -> float:
        """Good answers per second."""
        return self.answered / self.window_s if self.window_s else 0.0

    @property
    def throughput(self) -> float:
        """Inferences per second."""
        return self.requests_per_s * self.inferences_per_request

    def as_json(self) -> dict[str, Any]:
        """Return the part as it stands in the JSON result."""
        recording = self.recording
        return {
            **self.which,
            "throughput": self.throughput,
            "requests_per_s": self.requests_per_s,
            "window_s": self.window_s,
            "requests": recording.total,
            "latency_us": quantiles_us(recording.latency),
            "latency_from_send_us": quantiles_us(recording.from_send),
            "first_byte_us": quantiles_us(recording.to_first),
            "schedule_lag_us": quantiles_us(recording.lag),
            "errors": recording.failed,
            "errors_by_kind": errors_by_kind(recording),
        }
