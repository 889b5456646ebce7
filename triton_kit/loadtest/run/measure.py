"""The one entry point: `measure(spec)` puts load on a server and returns figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.record.cpu import CpuWatch
from triton_kit.loadtest.record.stats import StatsWatch
from triton_kit.loadtest.results.result import PerfResult, Run
from triton_kit.loadtest.results.slo import as_json, missed
from triton_kit.loadtest.run.crew import Crew, crew_of
from triton_kit.loadtest.run.sender import Sender, sender_of
from triton_kit.loadtest.run.sweep import SEARCHES, Plan
from triton_kit.loadtest.run.target import Targets, targets_of
from triton_kit.loadtest.run.trial import Trial, metrics_watch
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.triton.model import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a measurement is; `done` runs from 0 to 1 within each load.

    `loads` is how many there will be; None where a search finds that out.
    """

    load: Load
    index: int
    loads: int | None
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
    with targets_of(spec) as targets:
        spec = targets.spec
        if metrics := metrics_watch(spec):
            metrics.scrape()  # an endpoint that is none is an error before the load
        many = spec.processes > 1
        with crew_of(spec) if many else sender_of(spec, targets) as sender:
            runs, was_interrupted = _runs(spec, targets, sender, on_progress)
    # A run that was cut short says nothing of its load.
    whole = runs[:-1] if was_interrupted else runs
    enough = all if spec.search == "every" else any
    models = [_model_as_json(target.model) for target in targets.each]
    names = ", ".join(target.model.name for target in targets.each)
    return PerfResult(
        runs=runs,
        spec=_spec_as_json(spec, runs),
        server=asdict(targets.server),
        model=models[0] if len(models) == 1 else {"name": names},
        models=models,
        environment=_environment(),
        was_interrupted=was_interrupted,
        objectives=tuple(as_json(spec.slo, run) for run in runs),
        highest_load_met=_highest_met(spec, whole),
        meets_slo=enough(not missed(spec.slo, run) for run in whole),
        has_answers=enough(run.recording.succeeded > 0 for run in whole),
    )


def _runs(
    spec: PerfSpec,
    targets: Targets,
    sender: Sender | Crew,
    on_progress: OnProgress | None,
) -> tuple[tuple[Run, ...], bool]:
    """Measure one load after another; the second is whether that was interrupted."""
    watch = CpuWatch(spec.address, sender.processes)
    stats = StatsWatch(targets.protocol.control, targets.names)
    plan = SEARCHES[spec.search](spec.loads, spec.slo)
    loads = len(spec.loads) if spec.search == "every" else None
    load = next(plan, None)
    runs: list[Run] = []
    while load is not None:
        report = partial(_report, on_progress, load, len(runs), loads)
        engine = sender.engine(load)
        trial = Trial(spec, load, sender.reactor, engine, watch, stats, report)
        runs.append(trial.run())
        if trial.was_interrupted:
            return tuple(runs), True
        load = _after(plan, runs[-1])
    return tuple(runs), False


def _highest_met(spec: PerfSpec, runs: tuple[Run, ...]) -> str | None:
    """Return the name of what a search found: the last of the loads in their order."""
    if spec.search == "every":
        return None
    met = {run.name for run in runs if not missed(spec.slo, run)}
    names = [str(load) for load in spec.loads if str(load) in met]
    return names[-1] if names else None


def _after(plan: Plan, run: Run) -> Load | None:
    try:
        return plan.send(run)
    except StopIteration:
        return None


def _report(
    on_progress: OnProgress | None,
    load: Load,
    index: int,
    loads: int | None,
    done: float,
) -> None:
    if on_progress is not None:
        on_progress(Progress(load=load, index=index, loads=loads, done=done))


def _spec_as_json(spec: PerfSpec, runs: Sequence[Run]) -> dict[str, Any]:
    loads = spec.loads
    if spec.search == "until-missed":
        # A range without an end has thousands behind the one that ended the search.
        loads = loads[: len(runs)]
    return asdict(replace(spec, samples={}, loads=spec.loads[:1])) | {
        "samples": {name: list(rows.shape) for name, rows in spec.samples.items()},
        "loads": [load.as_json() for load in loads],
        "connections": spec.connections if spec.protocol == "grpc" else None,
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
        "decoupled": model.is_decoupled,
    }


def _environment() -> dict[str, Any]:
    return {
        "triton_kit": version("triton_kit"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
