"""Read the JSON result of `perf`: what was measured, of what, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from triton_kit.errors import SpecError
from triton_kit.files import read_json

SCHEMA = "triton-kit.perf/2"
_HINT = "perf writes one with --json FILE"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """One result of `perf`.

    Attributes:
        path: the file; only for messages.
        model, load, machine: facts by name that two comparable results share.
        runs: in the order of the file; repeated runs have the same name.
    """

    path: Path
    model: Mapping[str, Any]
    load: Mapping[str, Any]
    machine: Mapping[str, Any]
    runs: tuple[MeasuredRun, ...]

    def runs_by_name(self) -> dict[str, list[MeasuredRun]]:
        """Return the runs of each load, those that are whole."""
        found: dict[str, list[MeasuredRun]] = {}
        for run in self.runs:
            if run.requests and not run.ended_early:
                found.setdefault(run.name, []).append(run)
        return found


def read_result(path: Path) -> ResultFile:
    """Read a JSON result of `perf`.

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
    if schema != SCHEMA:
        found = f"has the schema {schema!r}" if schema else "names no schema"
        raise SpecError(
            f"{path} is not a result that can be compared: it {found}, not {SCHEMA!r}",
            hint=_HINT,
        )
    try:
        document = _Document.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(
            f"{path}: {place}: {first['msg'].lower()}", hint="measure again"
        ) from error
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


def _tensors(described: Sequence[_Tensor]) -> str:
    """Return tensors in words: `x FP32[3,224,224]`."""
    return ", ".join(
        f"{tensor.name} {tensor.datatype}[{','.join(map(str, tensor.shape or ()))}]"
        for tensor in described
    )
