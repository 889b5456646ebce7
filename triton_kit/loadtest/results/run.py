"""One load and its results, and what a table of several needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from triton_kit.loadtest.record.cpu import CpuUse
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.record.resources import ResourcePoint
from triton_kit.loadtest.record.stability import Window
from triton_kit.loadtest.record.stats import ModelStats
from triton_kit.loadtest.results.figures import Figures, histogram_us, quantiles_us
from triton_kit.loadtest.results.generation import GenerationFigures
from triton_kit.loadtest.results.gpus import GpuUse, gpu_uses
from triton_kit.loadtest.results.verdict import Verdict


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
        resources: CPU, memory and GPUs over the measured time.
        verdict: whether to trust the figures, and what the limit was.
        models: the figures of each model, where there are several.
        servers: the figures of each server, where there are several.
        levels: the figures of each level of a periodic load, or of each stage.
        ended_early: why the run ended before its time, if it did.
        warm_up_s: how long the load ran before it was measured.
        generation: tokens and their times, of a load on a language model.
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
    resources: tuple[ResourcePoint, ...] = ()
    models: tuple[Figures, ...] = ()
    servers: tuple[Figures, ...] = ()
    levels: tuple[Figures, ...] = ()
    ended_early: str | None = None
    warm_up_s: float = 0.0
    generation: GenerationFigures | None = None

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
        """CPU time that all processes of the client spent per successful response."""
        succeeded = sum(window.recording.succeeded for window in self.windows)
        return self.cpu.client_s * 1e6 / succeeded if succeeded else 0.0

    @property
    def gpus(self) -> tuple[GpuUse, ...]:
        """The use of each GPU, where the server's metrics were collected."""
        succeeded = sum(window.recording.succeeded for window in self.windows)
        counted = self.server[0].inferences if self.server else 0
        return gpu_uses(
            self.metrics, counted or succeeded * self.figures.inferences_per_request
        )

    def __repr__(self) -> str:
        return f"Run({self.name}: {self.throughput:,.1f}/s, {self.errors} errors)"

    def as_json(self) -> dict[str, Any]:
        """Return the run as it stands in the JSON file."""
        recording, cpu = self.recording, self.cpu
        return {
            **self.figures.which,
            **self.figures.as_json(),
            "latency_histogram_us": histogram_us(recording.latency),
            "send_rate": self.send_rate,
            "retried": recording.retried,
            "replies": recording.responses,
            "between_replies_us": quantiles_us(recording.between),
            "requests_total": self.total,
            "client_cpu_us_per_request": self.client_cpu_us_per_request,
            "client_cores": cpu.client_cores,
            "load_process_cores": list(cpu.process_cores),
            "foreign_cores": None
            if cpu.has_server_ended or cpu.is_server_hidden
            else cpu.foreign_cores,
            "stolen_cores": cpu.stolen_cores,
            "server_cpu_s": cpu.server_s,
            "server_cores": cpu.server_cores,
            "resources": [point.as_json() for point in self.resources],
            "ended_early": self.ended_early,
            "warm_up_s": self.warm_up_s,
            "verdict": self.verdict.as_json(),
            "server": [model.as_json() for model in self.server],
            "gpus": [gpu.as_json() for gpu in self.gpus],
            "metrics": list(self.metrics),
            "generation": self.generation and self.generation.as_json(),
            "models": [{**part.which, **part.as_json()} for part in self.models],
            "servers": [{**part.which, **part.as_json()} for part in self.servers],
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


class Runs(Protocol):
    """The part of a result that is shown to people."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """Each load and its results."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What was measured, as JSON."""

    @property
    def models(self) -> Sequence[Mapping[str, Any]]:
        """How the server describes each model, as JSON."""

    @property
    def objectives(self) -> tuple[Sequence[Mapping[str, Any]], ...]:
        """The objectives of each run."""

    @property
    def highest_load_met(self) -> str | None:
        """What a search found."""

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
