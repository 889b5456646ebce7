"""The one entry point: `measure(spec)` puts load on a server and returns figures."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

from triton_kit.perf.client_stats import CpuWatch
from triton_kit.perf.control import ServerInfo
from triton_kit.perf.load import Load
from triton_kit.perf.model import ModelInfo
from triton_kit.perf.protocol import Protocol, protocol_of
from triton_kit.perf.reactor import Reactor
from triton_kit.perf.result import PerfResult, Run
from triton_kit.perf.server_stats import StatsWatch
from triton_kit.perf.slo import as_json, missed
from triton_kit.perf.spec import PerfSpec
from triton_kit.perf.supply import supply_of
from triton_kit.perf.sweep import SEARCHES, Plan
from triton_kit.perf.trial import Trial, metrics_watch

# How long before a due time the reactor stops sleeping: about what a wake-up takes.
_AWAKE_NS = 40_000
# The same where `precise` is asked for: longer than even a late one.
_AWAKE_PRECISELY_NS = 150_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a measurement is; `done` runs from 0 to 1 within each load."""

    load: Load
    index: int
    loads: int
    done: float


OnProgress = Callable[[Progress], None]


def measure(spec: PerfSpec, on_progress: OnProgress | None = None) -> PerfResult:
    """Put every load of `spec` on the server, one after another, and measure it.

    Failed requests are counted, they do not end the measurement; Ctrl-C does, and the
    result then holds what was measured so far.

    Args:
        spec: what to measure.
        on_progress: called a few times per second, from this thread.

    Raises:
        TransportError: nobody listens at the URL, or not in this protocol.
        SpecError: the server has no such model, or it takes no such request.
        ServerError: the model is not ready.
    """
    protocol = protocol_of(spec)
    server = protocol.control.server()
    model = protocol.control.model(spec.model, spec.version)
    if model.is_decoupled or spec.streaming:
        protocol = protocol_of(spec, streaming=True)
    with protocol.memory or nullcontext():
        return _measure(spec, protocol, server, model, on_progress)


def _measure(
    spec: PerfSpec,
    protocol: Protocol,
    server: ServerInfo,
    model: ModelInfo,
    on_progress: OnProgress | None,
) -> PerfResult:
    if metrics := metrics_watch(spec):
        metrics.scrape()  # an endpoint that is none is an error before the load
    supply = supply_of(spec, model, protocol)
    if protocol.memory is not None:
        protocol.memory.register()
    runs: list[Run] = []
    was_interrupted = False
    watch = CpuWatch(spec.address)
    stats = StatsWatch(protocol.control, [model.name, *dict.fromkeys(model.steps)])
    spin_ns = _AWAKE_PRECISELY_NS if spec.precise else _AWAKE_NS
    with (
        Reactor(spin_ns=spin_ns) as reactor,
        protocol.transport(reactor, supply.check is not None) as transport,
        _undisturbed(),
    ):
        plan = SEARCHES[spec.search](spec.loads, spec.slo)
        load = next(plan, None)
        while load is not None and not was_interrupted:
            report = partial(_report, on_progress, load, len(runs), len(spec.loads))
            trial = Trial(spec, load, reactor, transport, supply, watch, stats, report)
            runs.append(trial.run())
            was_interrupted = trial.was_interrupted
            load = _after(plan, runs[-1])
    return PerfResult(
        runs=tuple(runs),
        spec=_spec_as_json(spec),
        server=asdict(server),
        model=_model_as_json(model),
        environment=_environment(),
        was_interrupted=was_interrupted,
        objectives=tuple(as_json(spec.slo, run) for run in runs),
        meets_slo=(all if spec.search == "every" else any)(
            not missed(spec.slo, run) for run in runs
        ),
    )


def _after(plan: Plan, run: Run) -> Load | None:
    try:
        return plan.send(run)
    except StopIteration:
        return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the garbage collector out of the hot path, which makes no cycles."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _report(
    on_progress: OnProgress | None, load: Load, index: int, loads: int, done: float
) -> None:
    if on_progress is not None:
        on_progress(Progress(load=load, index=index, loads=loads, done=done))


def _spec_as_json(spec: PerfSpec) -> dict[str, Any]:
    return asdict(replace(spec, samples={}, loads=spec.loads[:1])) | {
        "samples": {name: list(rows.shape) for name, rows in spec.samples.items()},
        "loads": [load.as_json() for load in spec.loads],
        "slo": [objective.text for objective in spec.slo],
        "headers": sorted(spec.headers),  # their values may be secrets
    }


def _model_as_json(model: ModelInfo) -> dict[str, Any]:
    def tensors(side: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [
            {"name": t.name, "datatype": t.dtype.name, "shape": list(t.shape)}
            for t in side
        ]

    return {
        "name": model.name,
        "version": model.version,
        "max_batch_size": model.max_batch_size,
        "inputs": tensors(model.inputs),
        "outputs": tensors(model.outputs),
        "steps": list(model.steps),
    }


def _environment() -> dict[str, Any]:
    return {
        "triton_kit": version("triton_kit"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
