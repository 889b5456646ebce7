"""The stages of tasks on the nodes of a Ray cluster, as they happen.

The actor of a task is busy until its end, so a board, an actor of its own, passes the
stages on. They also come with the end of the task: a board that is lost delays them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from triton_kit.execute.tasks import OnProgress, Progress

Actor: TypeAlias = Any  # Ray's actors and references have no types


@dataclass(frozen=True, slots=True)
class StageReport:
    """All stages of an attempt so far, so that the next message replaces a lost one."""

    index: int
    attempt: int
    stages: tuple[str, ...]


class Board:
    """Keeps stages until the driver takes them."""

    def __init__(self) -> None:
        self._arrived = asyncio.Event()
        self._reports: list[StageReport] = []

    async def add(self, report: StageReport) -> None:
        """Keep a stage."""
        self._reports.append(report)
        self._arrived.set()

    async def take(self) -> list[StageReport]:
        """Wait for stages, and return them."""
        await self._arrived.wait()
        self._arrived.clear()
        reports, self._reports = self._reports, []
        return reports


@dataclass(slots=True)
class _Attempt:
    """An attempt of a task, and how many of its stages were reported."""

    number: int
    where: str
    reported: int = 0


class StageFeed:
    """Reports the starts and stages of tasks, each once and in its order.

    Args:
        ray: the module.
        on_progress: what they are reported to.
        with_stages: whether there is a board.
    """

    def __init__(
        self, ray: ModuleType, on_progress: OnProgress, *, with_stages: bool
    ) -> None:
        self._ray, self._on_progress = ray, on_progress
        self._attempts: dict[int, _Attempt] = {}
        self.board: Actor = None
        # What to wait for: one reference, or none.
        self.arrivals: list[Actor] = []
        if with_stages:
            self.board = self._start_board()
            self.arrivals = [self.board.take.remote()]

    def _start_board(self) -> Actor:
        # Its node may be lost, too: Ray starts it again, and repeats the calls.
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        return self._ray.remote(Board).options(**options).remote()

    def started(self, index: int, attempt: int, where: str) -> None:
        """Report that a task starts."""
        self._attempts[index] = _Attempt(attempt, where)
        self._on_progress(Progress(index=index, where=where))

    def arrived(self) -> None:
        """Report what the board passes on."""
        [reference] = self.arrivals
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError:  # stages come with the end of the task
            self.arrivals = []
            return
        self.arrivals = [self.board.take.remote()]
        for report in found:
            if report.attempt == self._attempts[report.index].number:
                self.came(report.index, report.stages)

    def came(self, index: int, stages: Sequence[str]) -> None:
        """Report those of a task's stages so far that were not reported."""
        attempt = self._attempts[index]
        fresh = stages[attempt.reported :]
        attempt.reported += len(fresh)
        for stage in fresh:
            self._on_progress(Progress(index=index, where=attempt.where, stage=stage))

    def close(self) -> None:
        """End the board."""
        if self.board is not None:
            with suppress(Exception):  # the cluster may be gone
                self._ray.kill(self.board)
