"""What the server itself counted during a run, for the model and each of its steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from triton_kit.errors import TransportError
from triton_kit.triton.json_fields import Fields

_RESTS_FOR_S = 0.02
_RESTS_WITHIN_S = 0.3

# Triton's names of the durations it keeps, and ours.
_DURATIONS = {
    "queue": "queue",
    "compute_input": "compute_input",
    "compute_infer": "compute_infer",
    "compute_output": "compute_output",
    "success": "request",
    "cache_hit": "cache_hit",
    "cache_miss": "cache_miss",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStats:
    """The growth of one model's counters between two moments.

    Attributes:
        model: name of the model.
        requests: successful ones.
        failed: requests whose response was an error.
        inferences: requests times their batch size.
        executions: batches that were run; inferences by executions is the mean batch.
        mean_us: mean time per request that went through each stage: `request` is all
            of it, `queue`, `compute_input`, `compute_infer`, `compute_output`.
        batch_sizes: batch size -> how many executions had it.
        first_batch_sizes: those that the server had never run before.
    """

    model: str
    requests: int
    failed: int
    inferences: int
    executions: int
    mean_us: Mapping[str, float]
    batch_sizes: Mapping[int, int]
    first_batch_sizes: Sequence[int] = ()

    @property
    def compute_s(self) -> float:
        """How long the model computed in all, one batch after another."""
        mean_us = self.mean_us.get("compute_infer", 0.0)
        batch = self.inferences / self.executions if self.executions else 1.0
        return self.requests * mean_us / max(batch, 1.0) / 1e6

    def as_json(self) -> dict[str, Any]:
        """Return the growth as it stands in the JSON result."""
        return {
            "model": self.model,
            "requests": self.requests,
            "failed": self.failed,
            "inferences": self.inferences,
            "executions": self.executions,
            "mean_us": {name: round(us, 3) for name, us in self.mean_us.items()},
            "batch_sizes": {str(size): n for size, n in self.batch_sizes.items()},
            "first_batch_sizes": list(self.first_batch_sizes),
        }


class StatisticsSource(Protocol):
    """Asks the server for its counters."""

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the counters of a model, one entry per loaded version."""


class StatsWatch:
    """Asks for the counters of a model and its steps, before and after a run."""

    def __init__(self, control: StatisticsSource, models: Sequence[str]) -> None:
        self._control = control
        self._models = models

    def sample(self) -> dict[str, Any] | None:
        """Return all counters once they rest; None where the server does not tell.

        Triton counts a request after its response has left. If other clients use the
        server, the counters never rest, and are taken as they are.
        """
        counters = self._read()
        deadline_s = time.monotonic() + _RESTS_WITHIN_S
        while counters is not None and time.monotonic() < deadline_s:
            time.sleep(_RESTS_FOR_S)
            before, counters = counters, self._read()
            if counters == before:
                break
        return counters

    def _read(self) -> dict[str, Any] | None:
        try:
            return {
                model: _summed(self._control.statistics(model))
                for model in self._models
            }
        except TransportError:
            return None

    def since(self, before: Mapping[str, Any] | None) -> tuple[ModelStats, ...]:
        """Return the growth since `before`; nothing where it is not known.

        A server that was started anew meanwhile has forgotten what it counted before.
        """
        now = self.sample()
        if before is None or now is None:
            return ()
        if any(_has_fallen(before[model], now[model]) for model in self._models):
            return ()
        return tuple(
            _growth(model, before[model], now[model])
            for model in self._models
            if now[model]["count"]
        )


def _summed(versions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the versions of a model; `Any`: JSON, checked as it is read."""
    total: dict[str, Any] = {
        "count": len(versions),
        "inferences": 0,
        "executions": 0,
        "failed": 0,
        "stages": {name: [0, 0] for name in _DURATIONS},
        "batches": {},
    }
    for version in versions:
        counters = Fields(version, "statistics of the server")
        total["inferences"] += counters.integer("inference_count")
        total["executions"] += counters.integer("execution_count")
        stages = counters.inner("inference_stats")
        total["failed"] += stages.inner("fail").integer("count")
        for name, sums in total["stages"].items():
            stage = stages.inner(name)
            sums[0] += stage.integer("count")
            sums[1] += stage.integer("ns")
        for batch in counters.objects("batch_stats"):
            size = batch.integer("batch_size")
            count = batch.inner("compute_infer").integer("count")
            total["batches"][size] = total["batches"].get(size, 0) + count
    return total


def _has_fallen(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether any counter is lower than it was, which only a new server's can be."""
    plain = ("inferences", "executions", "failed")
    return any(now[name] < before[name] for name in plain) or any(
        late < early
        for name, sums in before["stages"].items()
        for early, late in zip(sums, now["stages"][name], strict=True)
    )


def _growth(
    model: str, before: Mapping[str, Any], now: Mapping[str, Any]
) -> ModelStats:
    means = {}
    for name, shown in _DURATIONS.items():
        count, spent_ns = (
            late - early
            for early, late in zip(
                before["stages"][name], now["stages"][name], strict=True
            )
        )
        if count > 0:
            means[shown] = spent_ns / count / 1000
    requests = now["stages"]["success"][0] - before["stages"]["success"][0]
    grown = {
        size: count - before["batches"].get(size, 0)
        for size, count in sorted(now["batches"].items())
    }
    return ModelStats(
        model=model,
        requests=requests,
        failed=now["failed"] - before["failed"],
        inferences=now["inferences"] - before["inferences"],
        executions=now["executions"] - before["executions"],
        mean_us=means,
        batch_sizes={size: count for size, count in grown.items() if count},
        first_batch_sizes=[
            size
            for size, count in grown.items()
            if count and not before["batches"].get(size)
        ],
    )
