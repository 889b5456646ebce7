"""What the report takes from each kind of result; numbers are finite, keys may grow."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from triton_kit.comparison.result_file import MeasuredRun


class _Part(BaseModel):
    """A part of a file."""

    model_config = ConfigDict(allow_inf_nan=False)


class ErrorKind(_Part):
    """Requests that failed in one way."""

    kind: str
    count: NonNegativeInt
    example: str | None = None


class LatencyHistogram(_Part):
    """Where each group of latencies ends, in microseconds, and how many are in it."""

    upper: list[float] = Field(default_factory=list)
    count: list[NonNegativeInt] = Field(default_factory=list)


class ServerPart(_Part):
    """What the server counted of a model."""

    model: str
    requests: int = 0
    executions: int = 0
    mean_us: dict[str, float] = Field(default_factory=dict)
    batch_sizes: dict[str, NonNegativeInt] = Field(default_factory=dict)


class Window(_Part):
    """A part of a run, in the order of time."""

    length_s: float
    requests_per_s: float
    errors: int = 0
    latency_us: dict[str, float]


class Objective(_Part):
    """An objective, and how the run stands to it."""

    objective: str = Field(alias="objective", default="")
    value: float | None = None
    met: bool = True


class Gpu(_Part):
    """The use of a GPU."""

    gpu: str = ""
    utilization: float | None = None
    memory_used_bytes: float | None = None
    power_w: float | None = None


class GpuLevel(_Part):
    """The use of a GPU in a part of a run."""

    gpu: str = ""
    utilization: float | None = None
    memory_used_mib: float | None = None


class Resources(_Part):
    """CPU, memory and GPUs until a time of a run, since the one before it."""

    at_s: float
    client_cores: float | None = None
    foreign_cores: float | None = None
    server_cores: float | None = None
    server_memory_mib: float | None = None
    gpus: list[GpuLevel] = Field(default_factory=list)


class ReportRun(MeasuredRun):
    """One load, with everything that a report draws."""

    window_s: float = 0.0
    errors_by_kind: list[ErrorKind] = Field(default_factory=list)
    latency_histogram_us: LatencyHistogram = Field(default_factory=LatencyHistogram)
    warm_up_s: float = 0.0
    client_cores: float | None = None
    foreign_cores: float | None = None
    stolen_cores: float | None = None
    server_cpu_s: float | None = None
    server_cores: float | None = None
    server: list[ServerPart] = Field(default_factory=list)
    gpus: list[Gpu] = Field(default_factory=list)
    resources: list[Resources] = Field(default_factory=list)
    metrics: list[dict[str, Any]] = Field(default_factory=list)
    slo: list[dict[str, Any]] = Field(default_factory=list)
    time_windows: list[Window] = Field(default_factory=list, alias="windows")

    @property
    def meets_slo(self) -> bool:
        """Whether the run meets every objective."""
        return all(row.get("met", row.get("is_met", True)) for row in self.slo)

    @property
    def findings(self) -> list[tuple[str, str]]:
        """Kind and reason of each finding."""
        rows = self.verdict.get("findings") or []
        return [(str(row.get("kind")), str(row.get("reason"))) for row in rows]


class PerfView(_Part):
    """A result of perf."""

    spec: dict[str, Any]
    model: dict[str, Any] = Field(default_factory=dict)
    models: list[dict[str, Any]] = Field(default_factory=list)
    server: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    was_interrupted: bool = False
    highest_load_met: str | None = None
    runs: list[ReportRun]


class TrialView(_Part):
    """One measurement of a search."""

    stage: str
    settings: dict[str, Any]
    failure: str = ""
    value: float | None = None
    figures: dict[str, float] = Field(default_factory=dict)
    bottleneck: dict[str, Any] | None = None
    verdict: str = ""
    cost_s: float = 0.0


class TuneView(_Part):
    """A result of tune."""

    model: str
    inputs: dict[str, Any]
    outcome: str
    verdict: str
    why: str = ""
    best: dict[str, Any]
    baseline: dict[str, Any]
    changes: dict[str, Any] = Field(default_factory=dict)
    figures: dict[str, dict[str, float]] = Field(default_factory=dict)
    patch: Any = None
    trials: list[TrialView]


class OutputView(_Part):
    """How near one output is to the source's; null is no error at all."""

    name: str
    snr_db: float | None = None
    max_abs_error: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None


class AccuracyView(_Part):
    """The figures of the accuracy gate."""

    outputs: list[OutputView] = Field(default_factory=list)
    agreements: dict[str, float] = Field(default_factory=dict)
    data: str = ""
    method: str = ""


class SizeView(_Part):
    """The size of a graph."""

    nodes: int = 0
    bytes: int = 0


class TriedView(_Part):
    """One precision that the search tried."""

    precision: str
    seconds: float | None = None
    spread_s: tuple[float, float] | None = None
    bytes: int | None = None
    snr_db: float | None = None
    why_not: str | None = None


class ConvertView(_Part):
    """A manifest of convert, or of an artifact that was published."""

    files: dict[str, Any]
    source: dict[str, Any] = Field(default_factory=dict)
    format: str | None = None
    precision: str | None = None
    spec: dict[str, Any] = Field(default_factory=dict)
    tools: dict[str, Any] = Field(default_factory=dict)
    before: SizeView | None = None
    after: SizeView | None = None
    accuracy: AccuracyView | None = None
    kept_fp32: dict[str, str] = Field(default_factory=dict)
    tried: list[TriedView] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
