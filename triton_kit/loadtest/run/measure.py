"""The one entry point: `measure(spec)` puts load on a server and returns figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import NEVER
from triton_kit.loadtest.record.cpu import CpuWatch
from triton_kit.loadtest.record.stats import StatsWatch
from triton_kit.loadtest.results.result import PerfResult
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.slo import as_json, missed
from triton_kit.loadtest.run.generator import LocalLoadGenerator, open_generator
from triton_kit.loadtest.run.load_run import LoadRun, metrics_watch
from triton_kit.loadtest.run.progress import LoadStatus, OnProgress, Progress
from triton_kit.loadtest.run.served_models import ServedModels, fetch_served_models
from triton_kit.loadtest.run.sweep import SEARCHES, Search, is_met
from triton_kit.loadtest.run.worker_pool import WorkerPool, start_workers
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.triton.address import shown
from triton_kit.triton.model import ModelInfo


def measure(spec: PerfSpec, on_progress: OnProgress | None = None) -> PerfResult:
    """Put every load of `spec` on the server, one after another, and measure it.

    Failed requests are counted; they do not end the measurement. Ctrl-C ends it, and
    the result then holds what was measured so far. So do the spec's time limit and a
    server that sends no response.

    Args:
        spec: what to measure.
        on_progress: called a few times per second, from this thread.

    Raises:
        TransportError: no server listens at the URL, or not in this protocol.
        SpecError: the server has no such model, or it takes no such request.
        ServerError: the model is not ready.
    """
    with fetch_served_models(spec) as models:
        spec = models.spec
        if metrics := metrics_watch(spec):
            metrics.scrape()  # an endpoint that is none is an error before the load
        many = spec.processes > 1
        with start_workers(spec) if many else open_generator(spec, models) as generator:
            runs, was_interrupted = _runs(spec, models, generator, on_progress)
    # A run that was interrupted says nothing about its load.
    whole = runs[:-1] if was_interrupted else runs
    enough = all if spec.search == "every" else any
    described = [_model_as_json(served.model) for served in models.each]
    names = ", ".join(served.model.name for served in models.each)
    return PerfResult(
        runs=runs,
        spec=_spec_as_json(spec, runs),
        server=asdict(models.server),
        model=described[0] if len(described) == 1 else {"name": names},
        models=described,
        environment=_environment(),
        was_interrupted=was_interrupted,
        objectives=tuple(as_json(spec.slo, run) for run in runs),
        highest_load_met=_highest_met(spec, whole),
        meets_slo=enough(not missed(spec.slo, run) for run in whole),
        is_failing=any(run.ended_early for run in whole)
        or not enough(not run.verdict.is_failing for run in whole),
    )


def _runs(
    spec: PerfSpec,
    models: ServedModels,
    generator: LocalLoadGenerator | WorkerPool,
    on_progress: OnProgress | None,
) -> tuple[tuple[Run, ...], bool]:
    """Measure one load after another; the second is whether that was interrupted."""
    watch = CpuWatch(
        [server.address for server in spec.servers],
        generator.processes,
        server_pid=spec.server_pid,
    )
    stats = StatsWatch(models, models.names)
    plan = SEARCHES[spec.search](spec.loads, spec.slo)
    loads = len(spec.loads) if spec.search == "every" else None
    load = next(plan, None)
    runs: list[Run] = []
    limit_s = spec.time_limit_s
    deadline_ns = NEVER if limit_s is None else now_ns() + ns(limit_s)
    while load is not None:
        report = partial(_report, on_progress, load, tuple(runs), loads)
        loop = generator.open_loop(load)
        load_run = LoadRun(
            spec, load, generator.reactor, loop, watch, stats, report, deadline_ns
        )
        runs.append(load_run.run())
        if load_run.was_interrupted or runs[-1].ended_early:
            return tuple(runs), load_run.was_interrupted
        load = _after(plan, runs[-1])
    return tuple(runs), False


def _highest_met(spec: PerfSpec, runs: tuple[Run, ...]) -> str | None:
    """Return the name of the highest load that a search found."""
    if spec.search == "every":
        return None
    met = {run.name for run in runs if is_met(spec.slo, run)}
    names = [str(load) for load in spec.loads if str(load) in met]
    return names[-1] if names else None


def _after(plan: Search, run: Run) -> Load | None:
    try:
        return plan.send(run)
    except StopIteration:
        return None


def _report(
    on_progress: OnProgress | None,
    load: Load,
    runs: tuple[Run, ...],
    loads: int | None,
    status: LoadStatus,
) -> None:
    if on_progress is not None:
        on_progress(
            Progress(load=load, index=len(runs), loads=loads, runs=runs, status=status)
        )


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
        # Their values may be secrets.
        "headers": sorted(spec.headers),
        "metrics_url": spec.metrics_url and shown(spec.metrics_url),
        "parameters": {
            name: "***" if isinstance(value, str) else value
            for name, value in spec.parameters.items()
        },
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
        "backend": model.backend,
        "backend_kind": model.backend_kind,
        "max_batch_size": model.max_batch_size,
        "is_configured": model.is_configured,
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
