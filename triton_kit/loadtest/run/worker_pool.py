"""A load that several processes share, as one load loop.

The workers follow one schedule: of an open loop each sends every Nth request, of a
closed loop its share of the concurrency. They begin at one time of CLOCK_MONOTONIC,
which is the same in all processes of a machine, and their snapshots are merged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.net.clock import ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.process_cpu import LoadProcess
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.pooled_loop import PooledLoop
from triton_kit.loadtest.run.worker_process import Worker, collect, start_worker
from triton_kit.loadtest.spec import PerfSpec

# How long a worker may take to start (imports, connections, all requests encoded).
READY_WITHIN_S = 120.0
# From the command to begin until the beginning, on this machine and on others.
_LEAD_NS = 50_000_000
_REMOTE_LEAD_NS = 500_000_000
# A message to another machine, and its response, cost this process about 2 ms of CPU.
_REMOTE_EXPIRE_NS = 500_000_000


class WorkerPool:
    """The workers of a measurement."""

    def __init__(
        self, spec: PerfSpec, reactor: Reactor, workers: Sequence[Worker]
    ) -> None:
        self.reactor = reactor
        self._spec = spec
        self._workers = workers
        self._current: PooledLoop | None = None
        for worker in workers:
            reactor.watch(worker.connection.fileno(), partial(self._on_events, worker))

    def _on_events(self, worker: Worker, _events: int, _woke_ns: int) -> None:
        worker.read()
        if worker.lost is not None:
            # The end of its connection would stay readable.
            self.reactor.forget(worker.connection.fileno())
        if self._current is not None:
            self._current.handle_events()

    def processes(self) -> list[LoadProcess]:
        """Return the process of each worker, with the CPU time that it reported."""
        return [worker.load_process for worker in self._workers]

    @property
    def workers_text(self) -> str:
        """Say how many workers send from other machines, and how many are lost."""
        nodes = {worker.node for worker in self._workers if worker.node}
        lost = [worker.node for worker in self._workers if worker.lost]
        if not (nodes or lost):
            return ""
        text = f"{len(self._workers)} processes"
        if nodes:
            text += f" on {len(nodes)} nodes"
        if lost:
            text += f", {len(lost)} lost"
        if named := ", ".join(sorted({node for node in lost if node})):
            text += f" ({named})"
        return text

    def as_json(self) -> list[dict[str, Any]]:
        """Return what a result says about each worker."""
        return [worker.as_json() for worker in self._workers]

    def open_loop(self, load: Load) -> PooledLoop:
        """Return the loop that sends `load` from all workers, already connected."""
        index = self._spec.loads.index(load)
        for worker in self._workers:
            worker.synchronize()
            worker.send(messages.OpenLoop(index))
        collect(self._workers, messages.Opened, within_s=READY_WITHIN_S)
        is_remote = any(worker.node for worker in self._workers)
        timeout_ns = ns(self._spec.request_timeout_s)
        self._current = PooledLoop(
            self.reactor,
            self._workers,
            is_open=load.concurrency is None,
            times=getattr(load, "times", None),
            concurrency=load.concurrency,
            lead_ns=_REMOTE_LEAD_NS if is_remote else _LEAD_NS,
            # Often enough that a request hardly exceeds its timeout.
            expire_every_ns=min(_REMOTE_EXPIRE_NS, timeout_ns // 10) * is_remote,
        )
        return self._current


# Starts the workers of a measurement; they end with the context.
StartWorkers: TypeAlias = Callable[[PerfSpec], AbstractContextManager[WorkerPool]]


@contextmanager
def start_workers(spec: PerfSpec) -> Iterator[WorkerPool]:
    """Start the workers; they end with the context, or with this process.

    Raises:
        TritonKitError: the error that a worker reports about the spec.
    """
    check_shares(spec)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = []
        for index in range(spec.processes):
            share = WorkerShare(index, spec.processes)
            worker = stack.enter_context(start_worker(share, folder / f"{index}.log"))
            worker.send(messages.Job(spec, share))
            workers.append(worker)
        collect(workers, messages.Ready, within_s=READY_WITHIN_S)
        refuse_lost(workers)
        reactor = stack.enter_context(Reactor())
        yield WorkerPool(spec, reactor, workers)


def refuse_lost(workers: Sequence[Worker]) -> None:
    """Check that every worker has started: there is nothing to go on with yet.

    Raises:
        TritonKitError: one was lost.
    """
    for worker in workers:
        if worker.lost is not None:
            raise worker.lost


def check_shares(spec: PerfSpec) -> None:
    """Check that every worker has a part in every load.

    Raises:
        SpecError: a load has fewer requests in flight than there are processes.
    """
    for load in spec.loads:
        if load.concurrency is not None and load.concurrency < spec.processes:
            raise SpecError(
                f"{load} cannot be divided among {spec.processes} processes",
                hint=f"start --concurrency-range at {spec.processes}",
            )
