"""What one load recorded becomes its result. No clock, no input or output."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.record.backlog import BacklogHistory
from triton_kit.loadtest.record.cpu import CpuUse
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.record.resources import ResourcePoint
from triton_kit.loadtest.record.stability import Window
from triton_kit.loadtest.record.stats import ModelStats
from triton_kit.loadtest.results.figures import Figures
from triton_kit.loadtest.results.generation import (
    GenerationFigures,
    generation_figures,
)
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.slo import allowed_failed, request_bounds_ns
from triton_kit.loadtest.results.verdict import Pace, Verdict, judge
from triton_kit.loadtest.spec import PerfSpec


@dataclass(slots=True, kw_only=True)
class Measurement:
    """Everything that was recorded of one load.

    Attributes:
        windows: what the measured time was cut into.
        tail: requests that were sent in the last window and ended after it.
        boundaries_ns: where the windows begin and end, on the monotonic clock.
        cpu: who used the CPU.
        resources: CPU, memory and GPUs over the measured time.
        backlogs: of an open loop, over the time of each stage, or of the run if it has
            none; empty for a closed one.
        server: what the server counted.
        metrics: the server's Prometheus samples, as JSON.
        send_rate: requests per second that an open loop sent; None for a closed one.
        has_ended: whether the load had an end of its own, as a trace has.
        ended_early: why the run ended before its time, if it did.
        warm_up_s: how long the load ran before it was measured.
    """

    windows: list[Window] = field(default_factory=list)
    tail: Snapshot = field(default_factory=lambda: Snapshot())
    boundaries_ns: list[int] = field(default_factory=list)
    cpu: CpuUse = field(default_factory=lambda: CpuUse(0.0, 0.0, 0.0, None))
    resources: tuple[ResourcePoint, ...] = ()
    backlogs: Sequence[BacklogHistory] = field(
        default_factory=lambda: [BacklogHistory()]
    )
    server: tuple[ModelStats, ...] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    send_rate: float | None = None
    has_ended: bool = False
    ended_early: str | None = None
    warm_up_s: float = 0.0


def summarize(spec: PerfSpec, load: Load, measured: Measurement) -> Run:
    """Return the result of one load."""
    windows, used = measured.windows, _used_windows(spec, load, measured)
    snapshots = [
        Snapshot(w.recording, {kind: [*each] for kind, each in w.parts.items()})
        for w in used
    ]
    # Requests sent in the last window belong to the result if that window does.
    tail = measured.tail if len(used) == len(windows) else Snapshot()
    window_s = sum(window.length_s for window in used)
    parts = _PartFigures(window_s, snapshots, tail)
    models = _figures_of_models(spec, parts)
    figures = _figures(
        name=str(load),
        which={"load": load.as_json()},
        window_s=window_s,
        recordings=[snapshot.whole for snapshot in snapshots],
        tail=tail.whole,
        inferences_per_request=_mean_batch_size(spec, models),
    )
    work_s = measured.server[0].compute_s if measured.server else 0.0
    cpu = measured.cpu.with_server_work(work_s)
    total = sum(window.recording.total for window in windows)
    return Run(
        figures=figures,
        total=total + measured.tail.whole.total,
        send_rate=measured.send_rate,
        windows=tuple(windows),
        server=measured.server,
        metrics=measured.metrics,
        boundaries_ns=tuple(measured.boundaries_ns),
        cpu=cpu,
        resources=_resources(measured, cpu),
        models=models,
        servers=_figures_of_servers(spec, parts),
        levels=_figures_of_levels(spec, load, windows)
        or _figures_of_stages(spec, load, parts),
        ended_early=measured.ended_early,
        warm_up_s=measured.warm_up_s,
        generation=_generation(spec, used, figures),
        verdict=_verdict(spec, load, measured, figures.recording, cpu),
    )


def _resources(measured: Measurement, cpu: CpuUse) -> tuple[ResourcePoint, ...]:
    """Return the points; without the server's part, if its process is not known."""
    if not cpu.is_server_hidden:
        return measured.resources
    return tuple(point.without_server() for point in measured.resources)


def _verdict(
    spec: PerfSpec, load: Load, measured: Measurement, recording: Recording, cpu: CpuUse
) -> Verdict:
    windows = measured.windows
    return judge(
        why_unstable=_why_unstable(spec, load, measured),
        cpu=cpu,
        recording=recording,
        backlog=measured.backlogs[0],
        # A stage's number tells equal ones apart.
        stages={
            f"{number} ({stage})": backlog
            for number, (stage, backlog) in enumerate(
                zip(load.stages, measured.backlogs, strict=False), 1
            )
        },
        cancels=spec.protocol == "grpc",
        allowed_failed=allowed_failed(spec.slo),
        pace=_pace(load, windows),
        ended_early=measured.ended_early or _without_requests(windows),
        first_batch_sizes=[
            size for stats in measured.server for size in stats.first_batch_sizes
        ],
    )


def _generation(
    spec: PerfSpec, windows: Sequence[Window], figures: Figures
) -> GenerationFigures | None:
    """Return the figures of tokens, of a load on a language model."""
    if spec.generation is None:
        return None
    return generation_figures(
        [window.recording for window in windows],
        figures.recording,
        figures.window_s,
        request_bounds_ns(spec.slo),
        has_tokenizer=spec.generation.tokenizer is not None,
    )


def _used_windows(
    spec: PerfSpec, load: Load, measured: Measurement
) -> Sequence[Window]:
    """Return the windows that make the result: all of a load that has an end."""
    if load.levels or measured.has_ended:
        return measured.windows
    return spec.stop.used(measured.windows)


def _why_unstable(spec: PerfSpec, load: Load, measured: Measurement) -> str | None:
    has_end = spec.request_count is not None or load.levels or load.stages
    if has_end or measured.has_ended:
        return None
    return spec.stop.why_unstable(measured.windows)


def _without_requests(windows: Sequence[Window]) -> str | None:
    if not windows or any(window.recording.total for window in windows):
        return None
    return (
        "no request ended in the measured time: measure longer (-p), or to the end of "
        "N requests (--request-count N)"
    )


def _pace(load: Load, windows: Sequence[Window]) -> Pace | None:
    """Compare the requests that ended in all windows with those that were due."""
    window_s = sum(window.length_s for window in windows)
    if load.due_per_s is None or not window_s:
        return None
    ended = sum(window.recording.total for window in windows)
    return Pace(load.due_per_s, ended / window_s, window_s)


def _figures(
    *,
    name: str,
    which: Mapping[str, Any],
    window_s: float,
    recordings: Iterable[Recording],
    tail: Recording,
    inferences_per_request: float,
) -> Figures:
    whole = Recording()
    for recording in recordings:
        whole.merge(recording)
    succeeded = whole.succeeded
    whole.merge(tail)
    return Figures(
        name=name,
        which=which,
        window_s=window_s,
        succeeded=succeeded,
        recording=whole,
        inferences_per_request=inferences_per_request,
    )


@dataclass(frozen=True, slots=True)
class _PartFigures:
    """Makes the figures of a part of the requests: of a model, a server or a stage."""

    window_s: float
    snapshots: Sequence[Snapshot]
    tail: Snapshot

    def of(
        self,
        kind: str,
        index: int,
        *,
        name: str,
        which: Mapping[str, Any],
        batch_size: float,
        window_s: float | None = None,
    ) -> Figures:
        """Return the figures of one part; `window_s` where it is not the run's."""
        recordings = [snapshot.parts[kind][index] for snapshot in self.snapshots]
        tail = self.tail.parts
        return _figures(
            name=name,
            which=which,
            window_s=self.window_s if window_s is None else window_s,
            recordings=recordings,
            tail=tail[kind][index] if tail else Recording(),
            inferences_per_request=batch_size,
        )


def _figures_of_servers(spec: PerfSpec, parts: _PartFigures) -> tuple[Figures, ...]:
    """Return the figures of each of several servers."""
    if not spec.more_urls:
        return ()
    names = [str(server.address) for server in spec.servers]
    batch_size = spec.parts[0].batch_size
    return tuple(
        parts.of("server", index, name=name, which={"url": name}, batch_size=batch_size)
        for index, name in enumerate(names)
    )


def _figures_of_stages(
    spec: PerfSpec, load: Load, parts: _PartFigures
) -> tuple[Figures, ...]:
    """Return the figures of the requests that were due in each of several stages.

    If the run was cut short, the last stage that began has the time until then.
    """
    if len(load.stages) < 2:
        return ()
    begins_s = itertools.accumulate((s.length_s for s in load.stages), initial=0.0)
    return tuple(
        parts.of(
            "stage",
            index,
            name=str(stage),
            which={"stage": str(stage)},
            batch_size=spec.parts[0].batch_size,
            window_s=min(stage.length_s, parts.window_s - begin_s),
        )
        for index, (stage, begin_s) in enumerate(
            zip(load.stages, begins_s, strict=False)
        )
        if begin_s < parts.window_s
    )


def _figures_of_models(spec: PerfSpec, parts: _PartFigures) -> tuple[Figures, ...]:
    """Return the figures of each of several models."""
    return tuple(
        parts.of(
            "model",
            index,
            name=share.model,
            which={
                "model": share.model,
                "weight": share.weight,
                "batch_size": part.batch_size,
            },
            batch_size=part.batch_size,
        )
        for index, (share, part) in enumerate(
            zip(spec.models, spec.parts, strict=False)
        )
    )


def _figures_of_levels(
    spec: PerfSpec, load: Load, windows: Sequence[Window]
) -> tuple[Figures, ...]:
    """Return the figures of each level that was reached: of its window."""
    return tuple(
        _figures(
            name=f"concurrency {level}",
            which={"concurrency": level},
            window_s=window.length_s,
            recordings=[window.recording],
            tail=Recording(),
            inferences_per_request=spec.parts[0].batch_size,
        )
        for level, window in zip(load.levels, windows, strict=False)
    )


def _mean_batch_size(spec: PerfSpec, models: Sequence[Figures]) -> float:
    succeeded = sum(model.succeeded for model in models)
    if not succeeded:
        return spec.parts[0].batch_size
    inferences = sum(model.succeeded * model.inferences_per_request for model in models)
    return inferences / succeeded
