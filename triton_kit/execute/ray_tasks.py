"""Tasks on the nodes of a Ray cluster, in processes that stay warm between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from triton_kit.errors import TransportError
from triton_kit.execute.cluster import (
    ExecutorChoice,
    connected,
    reason,
    require_resources,
    room_in,
)
from triton_kit.execute.ray_hosts import Host, HostPool
from triton_kit.execute.ray_stages import StageFeed
from triton_kit.execute.sending import FileSender
from triton_kit.execute.stages import wants_stages
from triton_kit.execute.tasks import (
    OnProgress,
    Outcome,
    Task,
    next_attempt,
    no_progress,
    outcome,
)

Actor: TypeAlias = Any  # Ray's actors and references have no types
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class _Run:
    """An attempt of a task, the actor that runs it, and what it will return."""

    index: int
    attempt: int
    host: Host
    value: Actor


class _LostError(Exception):
    """A process or a node died, and a call or its value with it."""


class _Runs:
    """Runs tasks that need the same in actors of a pool."""

    def __init__(
        self, ray: ModuleType, tasks: Sequence[Task], pool: HostPool, feed: StageFeed
    ) -> None:
        self._ray, self._tasks, self._pool, self._feed = ray, tasks, pool, feed
        self._idle: deque[Host] = deque()
        self._left: deque[tuple[int, int]] = deque()
        self._running: dict[Actor, _Run] = {}

    def run(self, indices: Sequence[int]) -> Iterator[Outcome]:
        """Run tasks; yield outcomes as they come."""
        self._left.extend((index, 1) for index in indices)
        while self._left or self._running:
            self._submit_all()
            references = [*self._running, *self._pool.starting, *self._feed.arrivals]
            done, _ = self._ray.wait(references, num_returns=1, timeout=_LOOK_S)
            for reference in done:
                yield from self._handle(reference)
            if self._running:
                self._pool.are_at_work()
            elif not done:
                self._pool.require_node(self._tasks[self._left[0][0]].name)

    def _submit_all(self) -> None:
        """Give each idle actor a task."""
        while self._left and self._idle:
            self._submit(*self._left.popleft(), self._idle.popleft())

    def _submit(self, index: int, attempt: int, host: Host) -> None:
        task = self._tasks[index]
        self._feed.started(index, attempt, host.where)
        ended, value = host.actor.run.options(num_returns=2).remote(
            task.call, task.argument, index, attempt, self._feed.board
        )
        self._running[ended] = _Run(index, attempt, host, value)

    def _handle(self, reference: Actor) -> Iterator[Outcome]:
        if reference in self._running:
            yield from self._ended(reference)
        elif reference in self._pool.starting:
            host = self._pool.joined(reference)
            self._idle.extend([host] if host else [])
        else:
            self._feed.arrived()

    def _ended(self, reference: Actor) -> Iterator[Outcome]:
        run = self._running.pop(reference)
        try:
            stages, failure = self._get(run, reference)
            self._idle.append(run.host)
            self._feed.came(run.index, stages)
            # The next task runs while the value of this one travels.
            self._submit_all()
            value = None if failure else self._get(run, run.value)
        except _LostError as lost:
            self._repeat(run, f"{run.host.where}: {lost}")
            return
        yield outcome(run.index, run.host.where, (value, failure))

    def _get(self, run: _Run, reference: Actor) -> Actor:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            name = self._tasks[run.index].name
            raise TransportError(f"{name}: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            raise _LostError(reason(error)) from error

    def _repeat(self, run: _Run, why: str) -> None:
        attempt = next_attempt(self._tasks[run.index], run.attempt, why)
        self._left.appendleft((run.index, attempt))
        if any(other.host is run.host for other in self._running.values()):
            return  # the end of the task that it has now tells whether it is lost
        if run.host in self._idle:
            self._idle.remove(run.host)
        self._pool.replace(run.host.actor)


class RayExecutor:
    """Runs tasks on the nodes of a cluster, at most `count` at once."""

    has_our_files = False

    def __init__(
        self, ray: ModuleType, count: int | None, modules: Sequence[str]
    ) -> None:
        self._ray, self._count, self._modules = ray, count, modules
        self._stack = ExitStack()
        self._sender = FileSender(ray, {})

    def offer(self, contents: Mapping[str, Path]) -> None:
        """Keep files of the tasks at hand; each is sent to a machine once."""
        self._sender = FileSender(self._ray, contents)

    def run(
        self, tasks: Sequence[Task], on_progress: OnProgress = no_progress
    ) -> Iterator[Outcome]:
        """Run tasks on nodes that have what they need; yield outcomes as they come.

        Raises:
            SpecError: no node has what a task needs.
            TransportError: no actor can start, or no node is left.
        """
        groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
        for index, task in enumerate(tasks):
            groups.setdefault(tuple(sorted(task.needs.items())), []).append(index)
        for needs in groups:
            require_resources(self._ray, "tasks", {"CPU": 1.0, **dict(needs)})
        with_stages = on_progress is not no_progress and wants_stages()
        feed = StageFeed(self._ray, on_progress, with_stages=with_stages)
        self._stack.callback(feed.close)
        for needs, indices in groups.items():
            pool = HostPool(self._ray, self._modules, self._sender, dict(needs))
            self._stack.callback(pool.close)
            room = room_in(self._ray, {"CPU": 1.0, **dict(needs)})
            count = min(room, len(indices), self._count or len(indices))
            for _ in range(max(count, 1)):  # the last node may just be gone
                pool.start()
            yield from _Runs(self._ray, tasks, pool, feed).run(indices)
            pool.close()  # other tasks need other actors
        feed.close()

    def close(self) -> None:
        """End the actors, and with them what they started."""
        self._stack.close()


@contextmanager
def ray_executor(
    choice: ExecutorChoice, count: int | None, modules: Sequence[str]
) -> Iterator[RayExecutor]:
    """Yield an executor whose actors end with the context, or with this process."""
    with connected(choice) as ray:
        executor = RayExecutor(ray, count, modules)
        try:
            yield executor
        finally:
            executor.close()
