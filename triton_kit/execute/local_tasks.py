"""Tasks in processes of this machine that stay warm between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from triton_kit.execute.piped_process import PipedProcess
from triton_kit.execute.tasks import MOST_TRIES, Outcome, Task, died, outcome
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

    def start(self, index: int, task: Task, attempt: int) -> None:
        self.index = index
        with suppress(OSError):  # a dead process is seen as its task is waited for
            self.connection.send((task.call, task.argument, attempt))


class LocalExecutor:
    """Runs tasks in `count` processes, which import `modules` first."""

    has_our_files = True

    def __init__(self, count: int, modules: Sequence[str], folder: Path) -> None:
        self._count, self._modules, self._folder = count, modules, folder
        self._processes: list[_Process] = []

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Run tasks, `count` at once, and yield each outcome as it comes."""
        left = deque((index, 1) for index in range(len(tasks)))
        attempts = dict.fromkeys(range(len(tasks)), 1)
        missing = min(self._count, len(tasks)) - len(self._processes)
        self._processes += [self._start() for _ in range(missing)]
        while left or any(p.index is not None for p in self._processes):
            for process in self._processes:
                if process.index is None and left:
                    index, attempts[index] = left.popleft()
                    process.start(index, tasks[index], attempts[index])
            for process in self._ready():
                assert process.index is not None
                index, process_index = process.index, self._processes.index(process)
                try:
                    answered = process.connection.recv()
                except (EOFError, OSError):
                    why = process.ending(lines=3)
                    process.close()
                    self._processes[process_index] = self._start()
                    if attempts[index] == MOST_TRIES:
                        raise died(tasks[index].name, why) from None
                    left.appendleft((index, attempts[index] + 1))
                    continue
                process.index = None
                yield outcome(index, process.where, answered)

    def offer(self, contents: Mapping[str, Path]) -> None:
        """Do nothing: the tasks run on this machine."""

    def _ready(self) -> list[_Process]:
        busy: dict[Any, _Process] = {
            p.connection: p for p in self._processes if p.index is not None
        }
        found = wait(busy)
        return [busy[c] for c in found if isinstance(c, Connection)]

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
