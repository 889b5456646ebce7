"""A load that several processes share, as one load loop.

The workers follow one schedule: of an open loop each sends every Nth request, of a
closed loop its share of the concurrency. They begin at one time of CLOCK_MONOTONIC,
which is the same in all processes, and their snapshots are merged.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from triton_kit import errors
from triton_kit.errors import ServerError, SpecError, TransportError, TritonKitError
from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.net.clock import NS_PER_S, now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.backlog import BacklogSample
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.process import (
    describe_exit,
    hold_signals,
    python_command,
    start_service,
    tail,
)

# How long a worker may take to start (imports, connections, all requests encoded).
_READY_WITHIN_S = 120.0
# How long a worker may take to respond once it runs; a snapshot takes milliseconds.
_RESPONSE_WITHIN_S = 30.0
_STOP_WITHIN_S = 5.0
# From the command to begin until the beginning: all workers have read it by then.
_LEAD_NS = 50_000_000

EventType = TypeVar("EventType", bound=messages.Event)


class WorkerProcess:
    """One worker, and its events that have not been handled yet."""

    def __init__(
        self,
        share: WorkerShare,
        connection: Connection[Any, Any],
        process: subprocess.Popen[bytes],
        log: Path,
    ) -> None:
        self.share = share
        self.connection = connection
        self.process = process
        self.events: list[messages.Event] = []
        self._log = log

    def send(self, message: messages.Job | messages.Command) -> None:
        """Send the job or a command.

        Raises:
            TransportError: the worker died.
        """
        try:
            with hold_signals():  # half a message would make all later ones unreadable
                self.connection.send(message)
        except OSError as error:
            raise self._death() from error

    def read(self) -> None:
        """Read every event that has arrived.

        Raises:
            TritonKitError: the worker reports an error, or died.
        """
        while True:
            try:
                with hold_signals():
                    if not self.connection.poll():
                        return
                    event = self.connection.recv()
            except (EOFError, OSError) as error:
                raise self._death() from error
            if isinstance(event, messages.Failed):
                kind = getattr(errors, event.kind, TritonKitError)
                raise kind(event.message, hint=event.hint)
            self.events.append(event)

    def take(self, kind: type[EventType]) -> list[EventType]:
        """Return the events of one class, and forget them."""
        found: list[EventType] = [e for e in self.events if isinstance(e, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    def _death(self) -> TritonKitError:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_WITHIN_S)
        code = self.process.returncode
        ending = "no exit" if code is None else describe_exit(code)
        output = tail(self._log, lines=3)
        return TransportError(
            f"load process {self.share.index + 1} died: {ending}"
            + (f"; its last output: {output}" if output else ""),
            hint="its share of the load is missing, so the run is no measurement; "
            "--processes 1 works without load processes",
        )


class WorkerPool:
    """The workers of a measurement."""

    def __init__(
        self, spec: PerfSpec, reactor: Reactor, workers: list[WorkerProcess]
    ) -> None:
        self.reactor = reactor
        self._spec = spec
        self._workers = workers
        self._current: PooledLoop | None = None
        for worker in workers:
            reactor.watch(worker.connection.fileno(), partial(self._on_events, worker))

    def _on_events(self, worker: WorkerProcess, _events: int, _woke_ns: int) -> None:
        worker.read()
        if self._current is not None:
            self._current.handle_events()

    @property
    def processes(self) -> list[int]:
        """The ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def open_loop(self, load: Load) -> PooledLoop:
        """Return the loop that sends `load` from all workers, already connected."""
        index = self._spec.loads.index(load)
        for worker in self._workers:
            worker.send(messages.OpenLoop(index))
        collect(self._workers, messages.Opened, within_s=_READY_WITHIN_S)
        self._current = PooledLoop(
            self.reactor, self._workers, is_open=load.concurrency is None
        )
        return self._current


class PooledLoop:
    """One load that all workers send together."""

    def __init__(
        self, reactor: Reactor, workers: list[WorkerProcess], *, is_open: bool
    ) -> None:
        self._reactor = reactor
        self._workers = workers
        self._busy: set[int] = set()
        self._round = 0
        self._is_ending = False
        self._counts: dict[int, messages.Counts] = {}
        self.sent: int | None = 0 if is_open else None

    def begin(self, *, count: int | None = None, at_ns: int | None = None) -> int:
        """Let all workers begin at one time, each with its share of `count`."""
        start_ns = now_ns() + _LEAD_NS if at_ns is None else at_ns
        self._counts.clear()
        self._is_ending = False
        self._start_round()
        for worker in self._workers:
            share = None if count is None else worker.share.exactly(count)
            worker.send(messages.Begin(self._round, start_ns, share))
        return start_ns

    def _start_round(self) -> None:
        self._busy = {worker.share.index for worker in self._workers}
        self._round += 1

    @property
    def is_done(self) -> bool:
        """Whether every worker is done."""
        return not self._busy

    @property
    def ended(self) -> int:
        """Requests that had ended when the workers last reported their counts."""
        return sum(counts.ended for counts in self._counts.values())

    @property
    def in_flight(self) -> int:
        """Requests in flight when the workers last reported their counts."""
        return sum(counts.in_flight for counts in self._counts.values())

    @property
    def responses(self) -> int:
        """Responses that had arrived when the workers last reported their counts."""
        return sum(counts.responses for counts in self._counts.values())

    @property
    def backlog(self) -> BacklogSample | None:
        """The backlog when the workers last reported their counts.

        None for a closed loop, and once a worker has sent its last request.
        """
        known = [c.backlog for c in self._counts.values() if c.backlog is not None]
        if len(known) < len(self._workers):
            return None
        return BacklogSample(*map(sum, zip(*known, strict=True)))

    def finish(self, end_ns: int) -> None:
        """Send nothing that is due at or after `end_ns`; stop at the last response."""
        self._send(messages.Finish(end_ns))
        if self.is_done:
            self._reactor.stop()

    def end_sequences(self) -> None:
        """End the sequence of each slot that sends nothing more; counts nowhere."""
        # Asked a second time in a round, workers that are done do not report it again.
        if self.is_done or not self._is_ending:
            self._is_ending = True
            self._start_round()
        self._send(messages.EndSequences(self._round))

    def abandon(self, failure: Failure) -> None:
        """Give up what is in flight and what was due, and send nothing more."""
        self._send(messages.Abandon(failure))

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail requests that were due before `before_ns` and have no response."""
        self._send(messages.Expire(before_ns, failure))

    def peek(self) -> Recording:
        """Return nothing: the workers keep their recordings until a snapshot."""
        return Recording()

    def take_snapshot(self) -> Snapshot:
        """Return what all workers recorded since the last snapshot."""
        self._send(messages.TakeSnapshot())
        whole, parts = Recording(), dict[str, list[Recording]]()
        taken = collect(self._workers, messages.Taken, within_s=_RESPONSE_WITHIN_S)
        for event in taken:
            whole.merge(event.snapshot.whole)
            for kind, others in event.snapshot.parts.items():
                ours = parts.setdefault(kind, [Recording() for _ in others])
                for mine, other in zip(ours, others, strict=True):
                    mine.merge(other)
        if self.sent is not None:
            self.sent = sum(event.sent or 0 for event in taken)
        self.handle_events()
        self._counts.clear()  # these requests are in the snapshot
        return Snapshot(whole, parts)

    def handle_events(self) -> None:
        """Handle what the workers reported; stop the reactor when all are done."""
        was_busy = bool(self._busy)
        for worker in self._workers:
            index = worker.share.index
            if any(done.round == self._round for done in worker.take(messages.Done)):
                self._busy.discard(index)
            for counts in worker.take(messages.Counts):
                self._counts[index] = counts
        if was_busy and not self._busy:
            self._reactor.stop()

    def _send(self, command: messages.Command) -> None:
        for worker in self._workers:
            worker.send(command)


def collect(
    workers: list[WorkerProcess], kind: type[EventType], *, within_s: float
) -> list[EventType]:
    """Wait for one event of a class from every worker.

    Raises:
        TritonKitError: a worker reports an error, died, or does not respond in time.
    """
    deadline_ns = now_ns() + ns(within_s)
    found: dict[int, EventType] = {}
    while True:
        for worker in workers:
            for event in worker.take(kind):
                found[worker.share.index] = event
        waiting = {w.connection: w for w in workers if w.share.index not in found}
        if not waiting:
            return [found[worker.share.index] for worker in workers]
        left_s = (deadline_ns - now_ns()) / NS_PER_S
        ready = wait(waiting, max(left_s, 0))
        if not ready:
            late = ", ".join(str(w.share.index + 1) for w in waiting.values())
            raise ServerError(f"load process {late} did not respond in {within_s:g} s")
        for connection in ready:
            assert isinstance(connection, Connection)
            waiting[connection].read()


@contextmanager
def start_workers(spec: PerfSpec) -> Iterator[WorkerPool]:
    """Start the workers; they end with the context, or with this process.

    Raises:
        TritonKitError: the error that a worker reports about the spec.
    """
    for load in spec.loads:
        if load.concurrency is not None and load.concurrency < spec.processes:
            raise SpecError(
                f"{load} cannot be divided among {spec.processes} processes",
                hint=f"start --concurrency-range at {spec.processes}",
            )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = []
        for index in range(spec.processes):
            share = WorkerShare(index, spec.processes)
            worker = stack.enter_context(start_worker(share, folder / f"{index}.log"))
            worker.send(messages.Job(spec, share))
            workers.append(worker)
        collect(workers, messages.Ready, within_s=_READY_WITHIN_S)
        reactor = stack.enter_context(Reactor())
        yield WorkerPool(spec, reactor, workers)


@contextmanager
def start_worker(
    share: WorkerShare,
    log: Path,
    *words: str,
) -> Iterator[WorkerProcess]:
    """Start one worker; `words` are Python's, by default those of `worker`.

    The worker gets the descriptor of its connection as last argument.
    """
    ours, theirs = Pipe()
    with ExitStack() as stack:
        stack.callback(theirs.close)
        program = words or ("-m", "triton_kit.loadtest.run.worker")
        argv = python_command(*program, str(theirs.fileno()))
        descriptors = [theirs.fileno()]
        process = stack.enter_context(
            start_service(
                argv, log=log, stop_within_s=_STOP_WITHIN_S, pass_fds=descriptors
            )
        )
        stack.callback(_close, ours, process)
        theirs.close()
        yield WorkerProcess(share, ours, process, log)


def _close(connection: Connection[Any, Any], process: subprocess.Popen[bytes]) -> None:
    """Close the connection, which ends the worker, and give it time to clean up."""
    connection.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_WITHIN_S)
