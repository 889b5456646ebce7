"""Read the JSON result of `perf` or `tune`: what was measured, of what, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from triton_kit.errors import SpecError
from triton_kit.files import read_json

SCHEMA, TUNE_SCHEMA = "triton-kit.perf/2", "triton-kit.tune/1"
_HINT = "perf writes one with --json FILE, tune writes result.json"
_TUNE_LATENCIES = ("mean", "p50", "p90", "p95", "p99")

# Microseconds by name: p50, p90, ..., mean.
Latency = Mapping[str, float]


class _Part(BaseModel):
    """A part of the file; its numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class Window(_Part):
    """A part of a run."""

    requests_per_s: float
    latency_us: Latency


class Generation(_Part):
    """Tokens of a load on a language model."""

    time_to_first_token_us: Latency
    inter_token_latency_us: Latency
    output_tokens_per_s: float


class MeasuredRun(_Part):
    """One load and its figures."""

    load: dict[str, Any]
    batch_size: int | None = None
    shapes: dict[str, list[int]] = Field(default_factory=dict)
    throughput: float
    requests_per_s: float
    requests: NonNegativeInt
    errors: NonNegativeInt
    latency_us: Latency
    windows: list[Window] = Field(default_factory=list)
    generation: Generation | None = None
    ended_early: str | None = None
    verdict: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """The load in words, for example `closed, concurrency 4, batch 8`."""
        words = [str(self.load.get("kind", "load"))]
        words += [
            f"{key.replace('_', ' ')} {value:.10g}"
            if isinstance(value, float)
            else f"{key.replace('_', ' ')} {value}"
            for key, value in self.load.items()
            if key not in ("kind", "seed", "distribution") and value is not None
        ]
        words += [str(self.load["distribution"])] if "distribution" in self.load else []
        words += [f"batch {self.batch_size}"] if (self.batch_size or 1) > 1 else []
        words += [
            f"{tensor}:{'x'.join(map(str, shape))}"
            for tensor, shape in self.shapes.items()
        ]
        return ", ".join(words)


class _Tensor(_Part):
    name: str | None = None
    datatype: str | None = None
    shape: list[int] | None = None


class _Model(_Part):
    name: str | None = None
    inputs: list[_Tensor] | None = None


class _Spec(_Part):
    protocol: str | None = None
    transport: dict[str, Any] | None = None
    input_data: Any = None


class _Document(_Part):
    """The parts of the file that are compared."""

    document_schema: str = Field(alias="schema")
    spec: _Spec
    model: _Model
    environment: dict[str, Any]
    runs: list[MeasuredRun]


class _TuneTrial(_Part):
    """A measurement of a search."""

    stage: str
    settings: dict[str, Any]
    figures: dict[str, float]
    failure: str = ""
    verdict: str = ""


class _TuneDocument(_Part):
    """The parts of the result of `tune` that are compared."""

    model: str
    inputs: dict[str, Any]
    environment: dict[str, Any]
    best: dict[str, Any]
    baseline: dict[str, Any]
    trials: list[_TuneTrial]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """One result of `perf` or `tune`.

    Attributes:
        kind: `perf` or `tune`.
        path: the file; only for messages.
        model, load, machine: facts by name that two comparable results share.
        runs: in the order of the file; repeated runs have the same name.
    """

    path: Path
    model: Mapping[str, Any]
    load: Mapping[str, Any]
    machine: Mapping[str, Any]
    runs: tuple[MeasuredRun, ...]
    kind: str = "perf"

    def runs_by_name(self) -> dict[str, list[MeasuredRun]]:
        """Return the runs of each load, those that are whole."""
        found: dict[str, list[MeasuredRun]] = {}
        for run in self.runs:
            if run.requests and not run.ended_early:
                found.setdefault(run.name, []).append(run)
        return found


def read_result(path: Path) -> ResultFile:
    """Read a JSON result of `perf` or `tune`.

    Raises:
        SpecError: the file is something else, or of another version.
    """
    return result_from_json(read_json(path), path)


def result_from_json(content: object, path: Path) -> ResultFile:
    """Check the JSON object of a result.

    Raises:
        SpecError: it is something else, or of another version.
    """
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema == TUNE_SCHEMA:
        return _tuned(_read(_TuneDocument, content, path), path)
    if schema != SCHEMA:
        found = f"has the schema {schema!r}" if schema else "names no schema"
        raise SpecError(
            f"{path} is not a result that can be compared: it {found}, not {SCHEMA!r}",
            hint=_HINT,
        )
    document = _read(_Document, content, path)
    spec, environment = document.spec, document.environment
    transport = spec.transport or {}
    return ResultFile(
        path=path,
        model={
            "model": document.model.name,
            "inputs": _tensors(document.model.inputs or ()),
        },
        load={
            "protocol": spec.protocol,
            "endpoint": transport.get("endpoint"),
            "shared memory": transport.get("shared_memory"),
            "compression": transport.get("compression"),
            "input data": spec.input_data,
        },
        machine={key: environment.get(key) for key in ("cpu", "cpus")},
        runs=tuple(document.runs),
    )


Document = TypeVar("Document", bound=BaseModel)


def _read(kind: type[Document], content: object, path: Path) -> Document:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(
            f"{path}: {place}: {first['msg'].lower()}", hint="measure again"
        ) from error


def _tuned(document: _TuneDocument, path: Path) -> ResultFile:
    """Return the last rounds of a search, as runs of the default and of the best.

    If later rounds confirmed the gain, they count: the choice did not favor them.
    """
    stages = {trial.stage for trial in document.trials}
    last = "confirm" if "confirm" in stages else "final"
    sides = {"default settings": document.baseline, "best settings": document.best}
    asked = document.inputs
    return ResultFile(
        path=path,
        kind="tune",
        model={"model": document.model},
        load={
            name: asked.get(name)
            for name in ("objective", "slo", "protocol", "batch size", "input data")
        },
        machine={key: document.environment.get(key) for key in ("cpu", "cpus")},
        runs=tuple(
            _tuned_run(trial, kind)
            for kind, settings in sides.items()
            for trial in document.trials
            if trial.stage == last and not trial.failure and trial.settings == settings
        ),
    )


def _tuned_run(trial: _TuneTrial, kind: str) -> MeasuredRun:
    figures = trial.figures
    requests = int(figures.get("requests", 0))
    return MeasuredRun(
        load={"kind": kind},
        throughput=figures["throughput"],
        requests_per_s=figures["throughput"],
        requests=requests,
        errors=round(figures.get("errors", 0.0) * requests),
        latency_us={n: figures[n] for n in _TUNE_LATENCIES if n in figures},
        verdict={"kind": trial.verdict.partition(":")[0]},
    )


def _tensors(described: Sequence[_Tensor]) -> str:
    """Return tensors in words: `x FP32[3,224,224]`."""
    return ", ".join(
        f"{tensor.name} {tensor.datatype}[{','.join(map(str, tensor.shape or ()))}]"
        for tensor in described
    )
