"""Tasks in processes of this machine that stay warm between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from triton_kit.execute.piped_process import PipedProcess
from triton_kit.execute.stages import wants_stages
from triton_kit.execute.tasks import (
    OnProgress,
    Outcome,
    Progress,
    Task,
    next_attempt,
    no_progress,
    outcome,
)
from triton_kit.scratch import scratch_folder

_PROGRAM = "triton_kit.execute.task_worker"
_STOP_WITHIN_S = 5.0


class _Process(PipedProcess):
    """One process, and the task that it has."""

    def __init__(self, modules: Sequence[str], folder: Path) -> None:
        super().__init__(
            _PROGRAM, *modules, folder=folder, stop_within_s=_STOP_WITHIN_S
        )
        self.index: int | None = None

    @property
    def where(self) -> str:
        return f"process {self.pid}"

    def start(self, index: int, task: Task, attempt: int, *, reports: bool) -> None:
        self.index = index
        with suppress(OSError):  # a dead process is seen as its task is waited for
            self.connection.send((task.call, task.argument, attempt, reports))

    def progress(self, stage: str = "") -> Progress:
        assert self.index is not None
        return Progress(index=self.index, where=self.where, stage=stage)


class LocalExecutor:
    """Runs tasks in `count` processes, which import `modules` first."""

    has_our_files = True

    def __init__(self, count: int, modules: Sequence[str], folder: Path) -> None:
        self._count, self._modules, self._folder = count, modules, folder
        self._processes: list[_Process] = []

    def run(
        self, tasks: Sequence[Task], on_progress: OnProgress = no_progress
    ) -> Iterator[Outcome]:
        """Run tasks, `count` at once, and yield each outcome as it comes."""
        reports = on_progress is not no_progress and wants_stages()
        left = deque((index, 1) for index in range(len(tasks)))
        attempts = dict.fromkeys(range(len(tasks)), 1)
        missing = min(self._count, len(tasks)) - len(self._processes)
        self._processes += [self._start() for _ in range(missing)]
        while left or any(p.index is not None for p in self._processes):
            for process in self._processes:
                if process.index is None and left:
                    index, attempts[index] = left.popleft()
                    attempt = attempts[index]
                    process.start(index, tasks[index], attempt, reports=reports)
                    on_progress(process.progress())
            for process in self._ready():
                assert process.index is not None
                index = process.index
                try:
                    message = process.connection.recv()
                except (EOFError, OSError):
                    why = self._replace(process)
                    attempt = next_attempt(tasks[index], attempts[index], why)
                    left.appendleft((index, attempt))
                    continue
                if isinstance(message, str):
                    on_progress(process.progress(message))
                    continue
                process.index = None
                yield outcome(index, process.where, message)

    def offer(self, contents: Mapping[str, Path]) -> None:
        """Do nothing: the tasks run on this machine."""

    def _ready(self) -> list[_Process]:
        busy: dict[Any, _Process] = {
            p.connection: p for p in self._processes if p.index is not None
        }
        found = wait(busy)
        return [busy[c] for c in found if isinstance(c, Connection)]

    def _replace(self, dead: _Process) -> str:
        """Start a process in the place of one that died; return how it died."""
        why = " ".join(dead.ending(lines=3).split())
        dead.close()
        self._processes[self._processes.index(dead)] = self._start()
        return why

    def _start(self) -> _Process:
        return _Process(self._modules, self._folder)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close(is_busy=process.index is not None)


@contextmanager
def local_executor(count: int, modules: Sequence[str]) -> Iterator[LocalExecutor]:
    """Yield an executor whose processes end with the context, or with this process."""
    with scratch_folder("task") as folder:
        executor = LocalExecutor(count, modules, folder)
        try:
            yield executor
        finally:
            executor.close()
