"""A load shared by several processes, as one engine.

The workers follow one schedule: of an open loop each takes every Nth request, of a
closed one its part of the concurrency. They begin at one time of CLOCK_MONOTONIC, which
is the same in all of them, and their recordings are merged cut by cut.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from triton_kit import errors
from triton_kit.errors import ServerError, SpecError, TransportError, TritonKitError
from triton_kit.loadtest.loops.load import ClosedLoad, Load
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.backlog import Owed
from triton_kit.loadtest.record.recorder import Cut, Recording
from triton_kit.loadtest.record.recording_wire import cut_from_bytes
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run.spec_wire import spec_to_json
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.process import describe_exit, python_command, tail

# How long a worker may take to start (imports, connections, all requests encoded).
_READY_WITHIN_S = 120.0
# How long one may take to answer once it runs; a cut is a matter of milliseconds.
_ANSWER_WITHIN_S = 30.0
_STOP_WITHIN_S = 5.0
# From the order to begin to the beginning: all have read it by then.
_LEAD_NS = 50_000_000
_READ_BYTES = 1 << 20


class _Worker:
    """One process, and what it has said that nobody has taken yet."""

    def __init__(self, index: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.index = index
        self.process = process
        self.events: list[tuple[dict[str, Any], bytes]] = []
        self._log = log
        self._unread = bytearray()
        self._head: dict[str, Any] | None = None  # of the event that is on its way
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin.fileno()
        self.stdout = process.stdout.fileno()

    def order(self, **command: object) -> None:
        """Send a command."""
        left = memoryview(json.dumps(command).encode() + b"\n")
        try:
            while left:
                left = left[os.write(self._stdin, left) :]
        except BrokenPipeError as error:
            raise self._death() from error

    def read(self) -> None:
        """Take what has come; raises what the worker reports, or why it died."""
        data = os.read(self.stdout, _READ_BYTES)
        if not data:
            raise self._death()
        self._unread += data
        while event := self._next_event():
            head, _ = event
            if head["is"] == "error":
                kind = getattr(errors, head["kind"], TritonKitError)
                raise kind(head["message"], hint=head["hint"])
            self.events.append(event)

    def _next_event(self) -> tuple[dict[str, Any], bytes] | None:
        """Split the first event off what has come; None while it is not all there.

        A cut with times is large and comes in many pieces: it is looked at once.
        """
        unread = self._unread
        if self._head is None:
            end = unread.find(b"\n") + 1
            if not end:
                return None
            self._head = json.loads(unread[:end])
            del unread[:end]
        head = self._head
        size = head["bytes"]
        if len(unread) < size:
            return None
        payload = bytes(unread[:size])
        del unread[:size]
        self._head = None
        return head, payload

    def _death(self) -> TritonKitError:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_WITHIN_S)
        code = self.process.returncode
        ending = "no exit" if code is None else describe_exit(code)
        said = tail(self._log, lines=3)
        return TransportError(
            f"load process {self.index + 1} died: {ending}"
            + (f"; it said: {said}" if said else ""),
            hint="its share of the load is lost, so the run is no measurement; "
            "--processes 1 does without",
        )


class Crew:
    """The workers of a measurement."""

    def __init__(
        self, spec: PerfSpec, reactor: Reactor, workers: list[_Worker]
    ) -> None:
        self.reactor = reactor
        self._spec = spec
        self._workers = workers
        self._current: CrewEngine | None = None
        for worker in workers:
            reactor.watch(worker.stdout, partial(self._hear, worker))

    def _hear(self, worker: _Worker, _events: int, _woke_ns: int) -> None:
        worker.read()
        if self._current is not None:
            self._current.take_notes()

    @property
    def processes(self) -> list[int]:
        """The ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def engine(self, load: Load) -> CrewEngine:
        """Return what puts a load on the server, connected already."""
        index = self._spec.loads.index(load)
        for worker in self._workers:
            worker.order(do="load", index=index)
        ask(self._workers, "open", within_s=_READY_WITHIN_S)
        self._current = CrewEngine(self.reactor, self._workers, load)
        return self._current


class CrewEngine:
    """One load, put on by all workers together."""

    def __init__(self, reactor: Reactor, workers: list[_Worker], load: Load) -> None:
        self._reactor = reactor
        self._workers = workers
        self._busy: set[int] = set()
        self._round = 0
        self._is_ending = False
        self._ended: dict[int, int] = {}
        self._owed: dict[int, Owed | None] = {}
        self.sent: int | None = None if isinstance(load, ClosedLoad) else 0

    def begin(self, *, count: int | None = None) -> int:
        """Have all begin at one time, each with its share of `count`."""
        start_ns = now_ns() + _LEAD_NS
        self._busy = {worker.index for worker in self._workers}
        self._ended.clear()
        self._owed.clear()
        self._round += 1
        self._is_ending = False
        for worker in self._workers:
            share = None if count is None else _share(count, worker, self._workers)
            worker.order(do="begin", at_ns=start_ns, count=share, round=self._round)
        return start_ns

    @property
    def is_done(self) -> bool:
        """Whether every worker is done."""
        return not self._busy

    @property
    def ended(self) -> int:
        """Requests that had ended when the workers were last asked."""
        return sum(self._ended.values())

    @property
    def owed(self) -> Owed | None:
        """Requests that were due and had no answer when the workers were last asked.

        None for a closed loop, and once a worker has sent its last one.
        """
        owed = [self._owed.get(worker.index) for worker in self._workers]
        known = [each for each in owed if each is not None]
        if len(known) < len(owed):
            return None
        return Owed(*map(sum, zip(*known, strict=True)))

    def finish(self, end_ns: int) -> None:
        """Send what is due before `end_ns` and no more; stop after the last answer."""
        self._order(do="finish", end_ns=end_ns)
        if self.is_done:
            self._reactor.stop()

    def end_sequences(self) -> None:
        """End the sequence of each slot that sends nothing more; counts nowhere."""
        # Asked again before all are done, who was done need not say so anew.
        if self.is_done or not self._is_ending:
            self._is_ending = True
            self._busy = {worker.index for worker in self._workers}
            self._round += 1
        self._order(do="end_sequences", round=self._round)

    def abandon(self, failure: Failure) -> None:
        """Give up what is in flight and what was due, and send nothing more."""
        self._order(do="abandon", failure=asdict(failure))

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail the requests that were due before `before_ns` and have no answer yet."""
        self._order(do="expire", before_ns=before_ns, failure=asdict(failure))

    def cut(self) -> Cut:
        """Return what all recorded since the last cut."""
        self._order(do="cut")
        sent, whole, parts = 0, Recording(), list[Recording]()
        for event, payload in ask(self._workers, "cut", within_s=_ANSWER_WITHIN_S):
            cut = cut_from_bytes(payload)
            sent += event["sent"] or 0
            whole.merge(cut.whole)
            parts = parts or [Recording() for _ in cut.parts]
            for mine, other in zip(parts, cut.parts, strict=True):
                mine.merge(other)
        if self.sent is not None:
            self.sent = sent
        self.take_notes()
        self._ended.clear()  # all of it came before the cut
        return Cut(whole, tuple(parts))

    def take_notes(self) -> None:
        """Read what the workers have said meanwhile; stop when all are done."""
        was_busy = bool(self._busy)
        for worker in self._workers:
            for event, _ in worker.events:
                if event["is"] == "done" and event["round"] == self._round:
                    self._busy.discard(worker.index)
                elif event["is"] == "count":
                    self._ended[worker.index] = event["ended"]
                    owed = event["owed"]
                    self._owed[worker.index] = Owed(*owed) if owed else None
            worker.events = [e for e in worker.events if e[0]["is"] == "cut"]
        if was_busy and not self._busy:
            self._reactor.stop()

    def _order(self, **command: object) -> None:
        for worker in self._workers:
            worker.order(**command)


def _share(count: int, worker: _Worker, workers: list[_Worker]) -> int:
    return count // len(workers) + (worker.index < count % len(workers))


def ask(
    workers: list[_Worker], what: str, *, within_s: float
) -> list[tuple[dict[str, Any], bytes]]:
    """Wait for an event of every worker, and take it.

    Raises:
        TritonKitError: a worker reports an error, died, or does not answer in time.
    """
    deadline_ns = now_ns() + round(within_s * 1e9)
    found: dict[int, tuple[dict[str, Any], bytes]] = {}
    while True:
        for worker in workers:
            for event in worker.events:
                if event[0]["is"] == what and worker.index not in found:
                    found[worker.index] = event
                    worker.events.remove(event)
                    break
        waiting = {w.stdout: w for w in workers if w.index not in found}
        if not waiting:
            return [found[worker.index] for worker in workers]
        left_s = (deadline_ns - now_ns()) / 1e9
        ready, _, _ = select.select(list(waiting), [], [], max(left_s, 0))
        if not ready:
            late = ", ".join(str(worker.index + 1) for worker in waiting.values())
            raise ServerError(f"load process {late} did not answer in {within_s:g} s")
        for fd in ready:
            waiting[fd].read()


@contextmanager
def crew_of(spec: PerfSpec) -> Iterator[Crew]:
    """Start the workers; they end with the context, or with this process.

    Raises:
        TritonKitError: whatever a worker finds wrong with the spec.
    """
    for load in spec.loads:
        if isinstance(load, ClosedLoad) and load.concurrency < spec.processes:
            raise SpecError(
                f"{load} cannot be divided among {spec.processes} processes",
                hint=f"--concurrency-range from {spec.processes} on",
            )
    document = spec_to_json(spec)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = []
        for index in range(spec.processes):
            worker = _start(index, folder / f"{index}.log")
            stack.callback(_stop, worker)
            workers.append(worker)
            worker.order(spec=document, index=index, of=spec.processes)
        ask(workers, "ready", within_s=_READY_WITHIN_S)
        reactor = stack.enter_context(Reactor())
        yield Crew(spec, reactor, workers)


def _start(index: int, log: Path) -> _Worker:
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            python_command("-m", "triton_kit.loadtest.run.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
        )
    return _Worker(index, process, log)


def _stop(worker: _Worker) -> None:
    """Close its stdin, which ends it; kill what does not listen."""
    process = worker.process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        process.stdout.close()
