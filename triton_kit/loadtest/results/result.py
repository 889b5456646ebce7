"""What was measured, and its JSON form (schema `triton-kit.perf/1`, docs/perf.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triton_kit.loadtest.record.cpu import CpuUse
from triton_kit.loadtest.record.histogram import RELATIVE_ERROR
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.record.stability import Window
from triton_kit.loadtest.record.stats import ModelStats
from triton_kit.loadtest.results.figures import errors_by_kind, quantiles_us
from triton_kit.loadtest.results.part import Part
from triton_kit.loadtest.results.verdict import Verdict

SCHEMA = "triton-kit.perf/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One load and what came of it.

    Attributes:
        load: the load as JSON, for example `{"kind": "closed", "concurrency": 4}`.
        name: the load in words.
        window_s: how long was measured.
        answered: good answers within that time; throughput counts these.
        recording: every request, those answered after the window included.
        inferences_per_request: the batch size; its mean where models differ.
        send_rate: requests per second that an open loop really sent; None if closed.
        total: every request that was sent for this run, those in windows that the
            result leaves out included; what the server's own counters grew by.
        windows: what the run was cut into.
        server: what the server counted, the model first, then its steps; of all
            requests of this run.
        metrics: the server's Prometheus samples, as JSON: growth or levels.
        boundaries_ns: where the windows begin and end, on the monotonic clock.
        cpu: who used the CPU.
        verdict: whether to trust the figures, and who was the limit.
        models: the figures of each model, where there are several.
        levels: the figures of each level of a periodic load.
    """

    load: Mapping[str, Any]  # JSON
    name: str
    window_s: float
    answered: int
    recording: Recording
    send_rate: float | None
    total: int
    inferences_per_request: float
    windows: tuple[Window, ...]
    server: tuple[ModelStats, ...]
    metrics: Sequence[Mapping[str, Any]]
    boundaries_ns: tuple[int, ...]
    cpu: CpuUse
    verdict: Verdict
    models: tuple[Part, ...] = ()
    levels: tuple[Part, ...] = ()

    @property
    def requests_per_s(self) -> float:
        """Good answers per second."""
        return self.answered / self.window_s if self.window_s else 0.0

    @property
    def throughput(self) -> float:
        """Inferences per second: requests times batch size."""
        return self.requests_per_s * self.inferences_per_request

    @property
    def errors(self) -> int:
        """Requests without a good answer."""
        return self.recording.failed

    @property
    def client_cpu_us_per_request(self) -> float:
        """CPU time that this process spent per answered request."""
        answered = sum(window.recording.succeeded for window in self.windows)
        return self.cpu.client_s * 1e6 / answered if answered else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the run as it stands in the JSON file."""
        recording = self.recording
        return {
            "load": dict(self.load),
            "throughput": self.throughput,
            "requests_per_s": self.requests_per_s,
            "send_rate": self.send_rate,
            "window_s": self.window_s,
            "requests": recording.total,
            "latency_us": quantiles_us(recording.latency),
            "latency_from_send_us": quantiles_us(recording.from_send),
            "first_byte_us": quantiles_us(recording.to_first),
            "replies": recording.replies,
            "between_replies_us": quantiles_us(recording.between),
            "schedule_lag_us": quantiles_us(recording.lag),
            "errors": self.errors,
            "errors_by_kind": errors_by_kind(recording),
            "requests_total": self.total,
            "client_cpu_us_per_request": self.client_cpu_us_per_request,
            "client_cores": self.cpu.client_cores,
            "foreign_cores": (
                None if self.cpu.has_server_ended else self.cpu.foreign_cores
            ),
            "stolen_cores": self.cpu.stolen_cores,
            "server_cpu_s": self.cpu.server_s,
            "verdict": {"kind": self.verdict.kind, "reason": self.verdict.reason},
            "server": [model.as_json() for model in self.server],
            "metrics": list(self.metrics),
            "models": [part.as_json() for part in self.models],
            "levels": [part.as_json() for part in self.levels],
            "windows": [
                {
                    "length_s": window.length_s,
                    "requests_per_s": window.requests_per_s,
                    "errors": window.recording.failed,
                    "latency_us": quantiles_us(window.recording.latency),
                }
                for window in self.windows
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfResult:
    """A whole measurement: its runs, and what is needed to repeat it.

    The mappings hold JSON: the spec, the server, the model and this machine; `models`
    has every model, and `model` only the names where there are several.
    `objectives` has a row per run, of each objective's text, value and whether it is
    met; `meets_slo` is whether every run meets all, or any run in a search, which
    found `highest_load_met`, if anything; `has_answers` is the same of good answers.
    A run that was interrupted is not asked.
    """

    runs: tuple[Run, ...]
    spec: Mapping[str, Any]
    server: Mapping[str, Any]
    model: Mapping[str, Any]
    models: Sequence[Mapping[str, Any]]
    environment: Mapping[str, Any]
    was_interrupted: bool = False
    objectives: tuple[Sequence[Mapping[str, Any]], ...] = ()
    meets_slo: bool = True
    has_answers: bool = True
    highest_load_met: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the result as the documented JSON object."""
        return {
            "schema": SCHEMA,
            "clock": "CLOCK_MONOTONIC",
            "quantile_relative_error": RELATIVE_ERROR,
            "spec": dict(self.spec),
            "server": dict(self.server),
            "model": dict(self.model),
            "models": list(self.models),
            "environment": dict(self.environment),
            "was_interrupted": self.was_interrupted,
            "meets_slo": self.meets_slo,
            "highest_load_met": self.highest_load_met,
            "runs": [
                run.as_json() | {"slo": list(objectives)}
                for run, objectives in zip(self.runs, self.objectives, strict=True)
            ],
        }

    def as_text(self) -> str:
        """Return the JSON file."""
        return json.dumps(self.as_json(), indent=2) + "\n"
