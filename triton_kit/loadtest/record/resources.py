"""Samples of CPU, memory and GPUs become points over the time of a run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any

from triton_kit.loadtest.net.clock import NS_PER_S, now_ns
from triton_kit.loadtest.record.cpu import CpuSample, CpuWatch, cpu_between
from triton_kit.loadtest.record.metrics import GPU_UTILIZATION, MetricsWatch, Scrape

MOST_POINTS = 120
_INTERVAL_NS = NS_PER_S
# The time from one sample to the next is at least this many times its cost.
_COSTS_APART = 1000
_MIB = 2.0**20
_GPU_MEMORY = "nv_gpu_memory_used_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLevel:
    """The use of one GPU in a stretch of time; None where the server does not tell.

    Attributes:
        gpu: its UUID.
        utilization: share of the time in which it worked, 0 to 1; the mean.
        memory_used_mib: of all processes; the maximum.
    """

    gpu: str
    utilization: float | None = None
    memory_used_mib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePoint:
    """CPU since the point before, memory at this moment; None is not known.

    Attributes:
        at_s: seconds since the measurement of the run began.
        client_cores: cores that the client kept busy.
        foreign_cores: those that other processes of this machine kept busy.
        server_cores: those of the server, if it is on this machine.
        server_memory_mib: resident memory of its processes; shared pages count in each.
        gpus: the server's GPUs, where its metrics are collected.
    """

    at_s: float
    client_cores: float
    foreign_cores: float | None
    server_cores: float | None
    server_memory_mib: float | None
    gpus: tuple[GpuLevel, ...] = ()

    def without_server(self) -> ResourcePoint:
        """Return what is known if the process of the server is not."""
        return replace(
            self, foreign_cores=None, server_cores=None, server_memory_mib=None
        )

    def as_json(self) -> dict[str, Any]:
        """Return the point as it stands in the JSON result."""
        return {
            "at_s": round(self.at_s, 3),
            "client_cores": _rounded(self.client_cores, 4),
            "foreign_cores": _rounded(self.foreign_cores, 4),
            "server_cores": _rounded(self.server_cores, 4),
            "server_memory_mib": _rounded(self.server_memory_mib, 2),
            "gpus": [asdict(gpu) for gpu in self.gpus],
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


class ResourceHistory:
    """Samples of one run; `note` is called often and samples about once per second.

    A long run has twice the time between samples whenever there are too many.

    Attributes:
        next_ns: when the next sample is due, on the monotonic clock.
    """

    def __init__(self, watch: CpuWatch, first: CpuSample) -> None:
        self._watch = watch
        self._samples = [first]
        self._interval_ns = _INTERVAL_NS
        self.next_ns = first.at_ns + _INTERVAL_NS

    @property
    def first(self) -> CpuSample:
        """The sample at the beginning of the run."""
        return self._samples[0]

    def await_begin(self, start_ns: int) -> None:
        """Wait for the load to begin and start anew, if other processes send.

        Until then they wait, and would seem less busy than they are.
        """
        if self._watch.has_processes:
            time.sleep(max(start_ns - now_ns(), 0) / NS_PER_S)
            self._samples = [self._watch.sample_known()]
            self.next_ns = self.first.at_ns + _INTERVAL_NS

    def note(self) -> None:
        """Sample if it is time to."""
        if now_ns() >= self.next_ns:
            self._sample()

    def end(self) -> None:
        """Sample at the end of the run; a short rest belongs to the point before."""
        rest_ns = now_ns() - self._samples[-1].at_ns
        if len(self._samples) > 1 and rest_ns < self._interval_ns / 2:
            del self._samples[-1]
        self._sample()

    def add(self, sample: CpuSample, cost_ns: int) -> None:
        """Add a sample that took `cost_ns` of CPU time."""
        if len(self._samples) > MOST_POINTS:
            # Counters only grow: without the sample between them, two points are one.
            self._samples = self._samples[::2]
            self._interval_ns *= 2
        self._samples.append(sample)
        pause_ns = max(self._interval_ns, _COSTS_APART * cost_ns)
        self.next_ns = sample.at_ns + pause_ns

    def _sample(self) -> None:
        self.add(*_timed(self._watch.sample_known))

    def points(
        self, start_ns: int, metrics: MetricsWatch | None
    ) -> tuple[ResourcePoint, ...]:
        """Return a point for each stretch between two samples.

        Args:
            start_ns: when the measurement began.
            metrics: has the use of GPUs during the run.
        """
        return tuple(
            _point(
                before,
                now,
                start_ns,
                metrics.between(before.at_ns, now.at_ns) if metrics else (),
            )
            for before, now in itertools.pairwise(self._samples)
        )


def _timed(sample: Callable[[], CpuSample]) -> tuple[CpuSample, int]:
    """Return a sample and its cost in nanoseconds of CPU time.

    Some kernels count CPU time in coarse steps; it is never more than the time passed.
    """
    start_ns, spent_ns = now_ns(), time.thread_time_ns()
    found = sample()
    return found, min(now_ns() - start_ns, time.thread_time_ns() - spent_ns)


def _point(
    before: CpuSample, now: CpuSample, start_ns: int, scrapes: Iterable[Scrape]
) -> ResourcePoint:
    use = cpu_between(before, now)
    memory = now.server_memory_bytes
    return ResourcePoint(
        at_s=max(now.at_ns - start_ns, 0) / NS_PER_S,
        client_cores=use.client_cores,
        foreign_cores=None if use.has_server_ended else use.foreign_cores,
        server_cores=use.server_cores,
        server_memory_mib=None if memory is None else memory / _MIB,
        gpus=_gpu_levels(scrapes),
    )


def _gpu_levels(scrapes: Iterable[Scrape]) -> tuple[GpuLevel, ...]:
    """Return the use of each GPU in the order of the metrics."""
    found: dict[str, dict[str, list[float]]] = {}
    for scrape in scrapes:
        for (name, labels), value in scrape.values.items():
            if name in (GPU_UTILIZATION, _GPU_MEMORY):
                gpu = found.setdefault(dict(labels).get("gpu_uuid", ""), {})
                gpu.setdefault(name, []).append(value)
    return tuple(
        GpuLevel(
            gpu=uuid,
            utilization=mean(busy) if (busy := levels.get(GPU_UTILIZATION)) else None,
            memory_used_mib=max(used) / _MIB
            if (used := levels.get(_GPU_MEMORY))
            else None,
        )
        for uuid, levels in found.items()
    )
