"""The one entry point: `measure(spec)` puts load on a server and returns figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from triton_kit.loadtest.inputs.shapes import input_shapes
from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import NEVER
from triton_kit.loadtest.record.cpu import CpuWatch
from triton_kit.loadtest.record.metrics import metrics_watch
from triton_kit.loadtest.record.stats import StatsWatch
from triton_kit.loadtest.results.result import PerfResult
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.slo import as_json, missed
from triton_kit.loadtest.run.generator import LocalLoadGenerator, open_generator
from triton_kit.loadtest.run.load_run import LoadRun
from triton_kit.loadtest.run.progress import LoadStatus, OnProgress, Progress
from triton_kit.loadtest.run.served_models import ServedModels, fetch_served_models
from triton_kit.loadtest.run.sweep import SEARCHES, Search, is_met
from triton_kit.loadtest.run.worker_pool import (
    StartWorkers,
    WorkerPool,
    start_workers,
)
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.loadtest.sweep_spec import Variant
from triton_kit.triton.address import shown
from triton_kit.triton.model import ModelInfo

# Reports the status of a load, after the runs before it.
Report = Callable[[tuple[Run, ...], Load, LoadStatus], None]


def measure(
    spec: PerfSpec,
    on_progress: OnProgress | None = None,
    *,
    workers: StartWorkers | None = None,
) -> PerfResult:
    """Put every load of `spec` on the server, one after another, and measure it.

    Failed requests are counted; they do not end the measurement. Ctrl-C ends it, and
    the result then holds what was measured so far. So do the spec's time limit and a
    server that sends no response.

    Args:
        spec: what to measure.
        on_progress: called a few times per second, from this thread.
        workers: starts the processes that send; None starts those of `spec.processes`
            on this machine.

    Raises:
        TransportError: no server listens at the URL, or not in this protocol.
        SpecError: the server has no such model, or it takes no such request.
        ServerError: the model is not ready.
    """
    variants = spec.variants
    limit_s = spec.time_limit_s
    deadline_ns = NEVER if limit_s is None else now_ns() + ns(limit_s)
    groups: list[tuple[Run, ...]] = []  # the runs of each variant
    was_interrupted = False
    models: ServedModels | None = None
    for variant in variants:
        is_first = models is None
        report = partial(_report, on_progress, spec, tuple(chain(*groups)))
        with fetch_served_models(spec.of_variant(variant)) as models:
            if is_first:
                _check_before(models, variants)
            found, was_interrupted, senders = _measure_variant(
                models, report, deadline_ns, workers
            )
        name = variant.name(variants)
        groups.append(tuple(_described(run, variant, name) for run in found))
        if was_interrupted or any(run.ended_early for run in found):
            break
    assert models is not None
    result = _result(spec, models, groups, was_interrupted=was_interrupted)
    return replace(result, environment={**result.environment, "workers": senders})


def _check_before(models: ServedModels, variants: Sequence[Variant]) -> None:
    """Check what would otherwise fail after the first load, and lose its results.

    Raises:
        SpecError: a model does not take a batch size, or a shape.
        TransportError: there are no metrics to read.
    """
    spec = models.spec
    if metrics := metrics_watch(spec.metrics_url, spec.metrics_interval_s):
        metrics.scrape()
    if len(variants) > 1:
        model = models.each[0].model
        for variant in variants:
            size = variant.batch_size
            model.check_batch_size(size)
            input_shapes(model, variant.shapes, batch_size=size, may_vary=True)


def _measure_variant(
    models: ServedModels,
    report: Report,
    deadline_ns: int,
    workers: StartWorkers | None,
) -> tuple[tuple[Run, ...], bool, list[dict[str, Any]]]:
    """Measure every load with one batch size and shape.

    Returns:
        The runs, whether they were interrupted, and what is known of each worker.
    """
    spec = models.spec
    if workers is None and spec.processes > 1:
        workers = start_workers
    with workers(spec) if workers else open_generator(spec, models) as generator:
        runs, was_interrupted = _runs(models, generator, report, deadline_ns)
        senders = generator.as_json() if isinstance(generator, WorkerPool) else []
    return runs, was_interrupted, senders


def _described(run: Run, variant: Variant, name: str) -> Run:
    """Say in the result of a run which batch size and shapes it had."""
    figures = run.figures
    which = {
        **figures.which,
        "batch_size": variant.batch_size,
        "shapes": {tensor: list(shape) for tensor, shape in variant.shapes.items()},
    }
    title = f"{figures.name}, {name}" if name else figures.name
    return replace(run, figures=replace(figures, which=which, name=title))


def _result(
    spec: PerfSpec,
    models: ServedModels,
    groups: Sequence[tuple[Run, ...]],
    *,
    was_interrupted: bool,
) -> PerfResult:
    runs = tuple(chain(*groups))
    # A run that was interrupted says nothing about its load.
    whole = [*groups[:-1], groups[-1][:-1] if was_interrupted else groups[-1]]
    enough = all if spec.search == "every" else any
    described = [_model_as_json(served.model) for served in models.each]
    names = ", ".join(served.model.name for served in models.each)
    return PerfResult(
        runs=runs,
        spec=_spec_as_json(
            replace(
                spec, sequences=models.spec.sequences, transport=models.spec.transport
            ),
            groups[0],
        ),
        server=asdict(models.server),
        model=described[0] if len(described) == 1 else {"name": names},
        models=described,
        environment=environment(),
        was_interrupted=was_interrupted,
        objectives=tuple(as_json(spec.slo, run) for run in runs),
        highest_load_met=_highest_met(spec, whole),
        meets_slo=all(
            enough(not missed(spec.slo, run) for run in group) for group in whole
        ),
        is_failing=any(run.ended_early for run in chain(*whole))
        or not all(
            enough(not run.verdict.is_failing for run in group) for group in whole
        ),
    )


def _runs(
    models: ServedModels,
    generator: LocalLoadGenerator | WorkerPool,
    report: Report,
    deadline_ns: int,
) -> tuple[tuple[Run, ...], bool]:
    """Measure one load after another; the second is whether that was interrupted."""
    spec = models.spec
    watch = CpuWatch(
        [server.address for server in spec.servers],
        generator.processes,
        server_pid=spec.server_pid,
    )
    stats = StatsWatch(models, models.names)
    # Round by round, so that a slow drift of the machine is in all loads.
    plan = SEARCHES[spec.search](spec.loads * spec.repeats, spec.slo)
    load = next(plan, None)
    runs: list[Run] = []
    while load is not None:
        on_status = _with_workers(generator, partial(report, tuple(runs), load))
        loop = generator.open_loop(load)
        load_run = LoadRun(
            spec, load, generator.reactor, loop, watch, stats, on_status, deadline_ns
        )
        runs.append(load_run.run())
        if load_run.was_interrupted or runs[-1].ended_early:
            return tuple(runs), load_run.was_interrupted
        load = _after(plan, runs[-1])
    return tuple(runs), False


def _with_workers(
    generator: LocalLoadGenerator | WorkerPool, report: Callable[[LoadStatus], None]
) -> Callable[[LoadStatus], None]:
    """Let reports say who sends, where that is not this machine."""
    if not isinstance(generator, WorkerPool):
        return report
    return lambda status: report(replace(status, workers=generator.workers_text))


def _highest_met(spec: PerfSpec, groups: Sequence[tuple[Run, ...]]) -> str | None:
    """Return the name of the highest load that a search found, for each variant."""
    if spec.search == "every":
        return None
    found = []
    for runs in groups:
        met = {str(run.load): run.name for run in runs if is_met(spec.slo, run)}
        loads = [str(load.as_json()) for load in spec.loads]
        found += [met[load] for load in loads if load in met][-1:]
    return "; ".join(found) or None


def _after(plan: Search, run: Run) -> Load | None:
    try:
        return plan.send(run)
    except StopIteration:
        return None


def _report(
    on_progress: OnProgress | None,
    spec: PerfSpec,
    before: tuple[Run, ...],
    runs: tuple[Run, ...],
    load: Load,
    status: LoadStatus,
) -> None:
    """Report progress; `before` are the runs of earlier variants."""
    if on_progress is None:
        return
    rounds = len(spec.variants) * spec.repeats
    count = len(spec.loads) * rounds if spec.search == "every" else None
    done = (*before, *runs)
    on_progress(
        Progress(load=load, index=len(done), loads=count, runs=done, status=status)
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
        "generation": spec.generation and spec.generation.as_json(),
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


def environment() -> dict[str, Any]:
    """Return what a result says of the machine that measured it."""
    return {
        "triton_kit": version("triton_kit"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str | None:
    """Return the name of this machine's processor; None where Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next((name.strip() for name in names), None)
