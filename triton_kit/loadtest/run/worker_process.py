"""One process that sends a share of a load: its start, its messages, its death."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from triton_kit import errors
from triton_kit.errors import ServerError, TransportError, TritonKitError
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.net.clock import NS_PER_S, now_ns, ns
from triton_kit.loadtest.record.process_cpu import CpuTime, LoadProcess
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.clock_offset import SAME_CLOCK, ClockOffset
from triton_kit.process import (
    describe_exit,
    hold_signals,
    python_command,
    start_service,
    tail,
)

_STOP_WITHIN_S = 5.0

EventType = TypeVar("EventType", bound=messages.Event)


class Worker:
    """One worker as its parent sees it, and its events that have not been handled yet.

    Attributes:
        share: which part of the load it sends.
        connection: where its events arrive, and commands leave.
        clock: what its clock shows when ours shows 0.
        lost: why it is gone; the run goes on without it.
    """

    def __init__(
        self,
        share: WorkerShare,
        connection: Connection[Any, Any],
    ) -> None:
        self.share = share
        self.connection = connection
        self.events: list[messages.Event] = []
        self.clock: ClockOffset = SAME_CLOCK
        self.lost: TritonKitError | None = None
        self._cpu = CpuTime()

    def send(self, message: messages.Job | messages.Command) -> None:
        """Send the job or a command; a lost worker gets none."""
        if self.lost is not None:
            return
        try:
            with hold_signals():  # half a message would make all later ones unreadable
                self._deliver(self.clock.to_worker(message))
        except OSError:
            self.read()  # what it sent before
            if self.lost is None:
                self.lose(self._death())

    def read(self) -> None:
        """Read every event that has arrived.

        Raises:
            TritonKitError: the worker reports an error.
        """
        while self.lost is None:
            try:
                with hold_signals():
                    if not self.connection.poll():
                        return
                    event = self.connection.recv()
            except (EOFError, OSError):
                self.lose(self._death())
                return
            if isinstance(event, messages.Failed):
                kind = getattr(errors, event.kind, TritonKitError)
                raise kind(event.message, hint=event.hint)
            event = self.clock.from_worker(event)
            if isinstance(event, messages.EventWithCpu):
                self._cpu = event.cpu
            self.events.append(event)

    def take(self, kind: type[EventType]) -> list[EventType]:
        """Return the events of one class, and forget them."""
        found: list[EventType] = [e for e in self.events if isinstance(e, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    def lose(self, why: TritonKitError) -> None:
        """Note that the worker is gone."""
        self.lost = why

    def synchronize(self) -> None:
        """Measure how far its clock is from ours; on this machine it is the same."""

    def idle_until(self, at_ns: int) -> None:
        """Note that it uses no CPU until then."""
        self._cpu = replace(self._cpu, at_ns=at_ns)

    @property
    def load_process(self) -> LoadProcess:
        """Its process, with the CPU time that it last reported.

        One that is lost uses no more.
        """
        cpu = replace(self._cpu, at_ns=now_ns()) if self.lost else self._cpu
        return LoadProcess(self.name, cpu, self.is_here)

    @property
    def name(self) -> str:
        """Which process it is, in words."""
        place = f" on node {self.node}" if self.node else ""
        return f"load process {self.share.index + 1}{place}"

    @property
    def node(self) -> str:
        """The name of its machine; empty for this one."""
        return ""

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return True

    def as_json(self) -> dict[str, Any]:
        """Return what a result says about it."""
        return {
            "index": self.share.index,
            "node": self.node or None,
            "clock_offset_ns": self.clock.offset_ns,
            "clock_bound_ns": self.clock.bound_ns,
            "lost": self.lost and self.lost.message,
        }

    def _deliver(self, message: messages.Job | messages.Command) -> None:
        self.connection.send(message)

    def _death(self) -> TritonKitError:
        raise NotImplementedError


class WorkerProcess(Worker):
    """A worker that is a child of this process."""

    def __init__(
        self,
        share: WorkerShare,
        connection: Connection[Any, Any],
        process: subprocess.Popen[bytes],
        log: Path,
    ) -> None:
        super().__init__(share, connection)
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def _death(self) -> TritonKitError:
        return TransportError(
            f"{self.name} was lost: {self.ending()}",
            hint="its share of the load counts as not sent",
        )

    def ending(self, error: Exception | None = None) -> str:
        """Return how the process ended, and its last output.

        Args:
            error: of its connection; named if the process still runs.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_WITHIN_S)
        code = self._process.returncode
        ending = describe_exit(code) if code is not None else "it still runs"
        if code is None and error is not None:
            ending += f", but its connection broke: {error!r}"
        output = tail(self._log, lines=3)
        return ending + (f"; its last output: {output}" if output else "")


def collect(
    workers: Sequence[Worker], kind: type[EventType], *, within_s: float
) -> dict[int, EventType]:
    """Wait for one event of a class from every worker that is not lost.

    One that does not respond in time is lost.

    Returns:
        The events by the index of the worker's share.

    Raises:
        TritonKitError: a worker reports an error.
    """
    deadline_ns = now_ns() + ns(within_s)
    found: dict[int, EventType] = {}
    while True:
        for worker in workers:
            for event in worker.take(kind):
                found[worker.share.index] = event
        waiting = {
            w.connection: w
            for w in workers
            if w.share.index not in found and w.lost is None
        }
        if not waiting:
            return dict(sorted(found.items()))
        left_s = (deadline_ns - now_ns()) / NS_PER_S
        ready = wait(waiting, max(left_s, 0))
        for late in waiting.values() if not ready else ():
            late.lose(ServerError(f"{late.name} did not respond in {within_s:g} s"))
        for connection in ready:
            assert isinstance(connection, Connection)
            waiting[connection].read()


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
