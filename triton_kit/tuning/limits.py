"""What limits the throughput of a run, in one sentence, from the server's counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from triton_kit.loadtest.record.stats import ModelStats
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.units import duration

_FULL_MACHINE = 0.9
_BUSY = 0.8
_IDLE = 0.5
_WAITING = 0.5  # a share of the time of a request
_COMPUTE = ("compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """What limits a run.

    Attributes:
        kind: `client-bound`, `queue-bound` or `compute-bound`.
        reason: why, with the figures that say so.
    """

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


def find_bottleneck(run: Run, instances: Mapping[str, int]) -> Bottleneck:
    """Return what limits a run.

    Args:
        run: with the server's counters.
        instances: how many each model has; a model that is not there only wires others.
    """
    if run.verdict.kind == "client-limited":
        return Bottleneck(kind="client-bound", reason=run.verdict.reason)
    parts = [part for part in run.server if part.model in instances]
    if not parts:
        return Bottleneck(
            kind="client-bound", reason="the server reports no figures of its own"
        )
    own = _own_share(run)
    busiest = max(parts, key=lambda part: _busy(part, run, instances))
    busy = _busy(busiest, run, instances)
    count = instances[busiest.model]
    owners = f"{count} instance{'s' if count > 1 else ''} of {busiest.model}"
    queue_us, request_us = _queue_us(busiest), busiest.mean_us.get("request", 0.0)
    is_waiting = request_us > 0 and queue_us > _WAITING * request_us
    waited = (
        f"requests waited {duration(queue_us * 1e3)} of {duration(request_us * 1e3)}"
    )
    if own > _FULL_MACHINE:
        reason = f"the server and perf use {own:.0%} of the machine's cores"
        return Bottleneck(kind="compute-bound", reason=reason)
    if busy >= _BUSY and is_waiting:
        reason = f"{waited} for {owners}, which computed {busy:.0%} of the time"
        return Bottleneck(kind="queue-bound", reason=reason)
    if is_waiting:
        reason = f"{waited} in the queue, while {owners} computed {busy:.0%} of it"
        return Bottleneck(kind="queue-bound", reason=reason)
    if busy < _IDLE:
        reason = f"{owners} computed only {busy:.0%} of the time"
        return Bottleneck(kind="client-bound", reason=reason)
    reason = f"{owners} computed {busy:.0%} of the time"
    return Bottleneck(kind="compute-bound", reason=reason)


def _own_share(run: Run) -> float:
    """Return the share of this machine's cores that the server and the client use."""
    cpu = run.cpu
    if cpu.server_s is None or not cpu.length_s:
        return 0.0
    return (cpu.server_s + cpu.client_here_s) / cpu.length_s / cpu.cores


def _busy(part: ModelStats, run: Run, instances: Mapping[str, int]) -> float:
    """Return the share of the time in which the instances of a model computed."""
    batch = part.inferences / part.executions if part.executions else 1.0
    per_request = part.inferences / part.requests if part.requests else 1.0
    # Each request has the time of the whole batch that it was part of.
    each_us = sum(part.mean_us.get(stage, 0.0) for stage in _COMPUTE)
    spent_s = part.requests * each_us / max(batch / per_request, 1.0) / 1e6
    length_s = run.window_s * (part.requests / max(1, run.recording.total))
    return min(1.0, spent_s / max(length_s, 1e-9) / instances[part.model])


def _queue_us(part: ModelStats) -> float:
    return part.mean_us.get("queue", 0.0)
