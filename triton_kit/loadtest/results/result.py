"""What was measured, and its JSON form (schema in docs/perf-reference.md)."""

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
from triton_kit.loadtest.results.figures import Figures, quantiles_us
from triton_kit.loadtest.results.verdict import Verdict

SCHEMA = "triton-kit.perf/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One load and its results.

    Attributes:
        figures: of all requests of the result.
        total: every request that was sent for this run, including those in windows
            that the result leaves out; the server's own counters grew by this.
        send_rate: requests per second that an open loop sent; None if closed.
        windows: what the run was cut into.
        server: what the server counted, the model first, then its steps; of all
            requests of this run.
        metrics: the server's Prometheus samples, as JSON: growth or levels.
        boundaries_ns: where the windows begin and end, on the monotonic clock.
        cpu: who used the CPU.
        verdict: whether to trust the figures, and what the limit was.
        models: the figures of each model, where there are several.
        levels: the figures of each level of a periodic load.
        ended_early: why the run ended before its time, if it did.
    """

    figures: Figures
    total: int
    send_rate: float | None
    windows: tuple[Window, ...]
    server: tuple[ModelStats, ...]
    metrics: Sequence[Mapping[str, Any]]
    boundaries_ns: tuple[int, ...]
    cpu: CpuUse
    verdict: Verdict
    models: tuple[Figures, ...] = ()
    levels: tuple[Figures, ...] = ()
    ended_early: str | None = None

    @property
    def name(self) -> str:
        """The load in words."""
        return self.figures.name

    @property
    def load(self) -> Mapping[str, Any]:
        """The load as JSON, for example `{"kind": "closed", "concurrency": 4}`."""
        load: Mapping[str, Any] = self.figures.which["load"]
        return load

    @property
    def recording(self) -> Recording:
        """Every request; responses after the window are included."""
        return self.figures.recording

    @property
    def window_s(self) -> float:
        """How long was measured."""
        return self.figures.window_s

    @property
    def errors(self) -> int:
        """Requests without a successful response."""
        return self.recording.failed

    @property
    def requests_per_s(self) -> float:
        """Successful responses per second."""
        return self.figures.requests_per_s

    @property
    def throughput(self) -> float:
        """Inferences per second: requests times batch size."""
        return self.figures.throughput

    @property
    def client_cpu_us_per_request(self) -> float:
        """CPU time that this process spent per successful response."""
        succeeded = sum(window.recording.succeeded for window in self.windows)
        return self.cpu.client_s * 1e6 / succeeded if succeeded else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the run as it stands in the JSON file."""
        recording, cpu = self.recording, self.cpu
        return {
            **self.figures.which,
            **self.figures.as_json(),
            "send_rate": self.send_rate,
            "replies": recording.replies,
            "between_replies_us": quantiles_us(recording.between),
            "retried": recording.retried,
            "requests_total": self.total,
            "client_cpu_us_per_request": self.client_cpu_us_per_request,
            "client_cores": cpu.client_cores,
            "foreign_cores": None
            if cpu.has_server_ended or cpu.is_server_hidden
            else cpu.foreign_cores,
            "stolen_cores": cpu.stolen_cores,
            "server_cpu_s": cpu.server_s,
            "ended_early": self.ended_early,
            "verdict": self.verdict.as_json(),
            "server": [model.as_json() for model in self.server],
            "metrics": list(self.metrics),
            "models": [{**part.which, **part.as_json()} for part in self.models],
            "levels": [{**part.which, **part.as_json()} for part in self.levels],
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
    met. `meets_slo` is whether every run meets all of them, or any run in a search,
    which found `highest_load_met`, if anything. `is_failing` is whether a run is
    failing, or every run in a search. A run that was interrupted counts for neither.
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
    is_failing: bool = False
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
