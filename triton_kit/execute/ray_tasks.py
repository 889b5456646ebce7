"""Tasks on the nodes of a Ray cluster, in processes that stay warm between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from triton_kit.conversion.workers.forked import preloaded_workers
from triton_kit.errors import TransportError
from triton_kit.execute.cluster import (
    ExecutorChoice,
    connected,
    reason,
    require_resources,
)
from triton_kit.execute.sending import FileReceiver, FileSender
from triton_kit.execute.tasks import (
    MOST_TRIES,
    Failure,
    Outcome,
    Task,
    answer,
    died,
    outcome,
)

Actor: TypeAlias = Any  # Ray's actors and references have no types


class TaskHost(FileReceiver):
    """Runs tasks on a node, in an actor of Ray."""

    def __init__(self, modules: Sequence[str]) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._stack.enter_context(preloaded_workers())
        for module in modules:
            import_module(module)

    def run(
        self, call: str, argument: object, attempt: int
    ) -> tuple[tuple[str, Failure | None], object]:
        """Run a task; return the node's name and a failure, and apart the value."""
        import ray

        value, failure = answer(call, argument, attempt)
        return (ray.util.get_node_ip_address(), failure), value


@dataclass(slots=True)
class _Slot:
    """An actor, the task that it has, and the reference of the task's value."""

    host: Actor
    index: int | None = None
    value: Actor = None


class RayExecutor:
    """Runs tasks on the nodes of a cluster, at most `count` at once."""

    has_our_files = False

    def __init__(
        self, ray: ModuleType, count: int | None, modules: Sequence[str]
    ) -> None:
        self._ray, self._count, self._modules = ray, count, modules
        self._slots: list[_Slot] = []
        self._sender = FileSender(ray, {})

    def offer(self, contents: Mapping[str, Path]) -> None:
        """Keep files of the tasks at hand; each is sent to a machine once."""
        self._sender = FileSender(self._ray, contents)

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Run tasks on nodes that have what they need; yield outcomes as they come."""
        groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
        for index, task in enumerate(tasks):
            groups.setdefault(tuple(sorted(task.needs.items())), []).append(index)
        for needs in groups:
            require_resources(self._ray, "tasks", {"CPU": 1.0, **dict(needs)})
        for needs, indices in groups.items():
            yield from self._run_group(tasks, indices, dict(needs))
            self.close()  # other tasks need other actors

    def _run_group(
        self, tasks: Sequence[Task], indices: list[int], needs: Mapping[str, float]
    ) -> Iterator[Outcome]:
        left = deque((index, 1) for index in indices)
        attempts: dict[int, int] = {}
        most = min(self._room(needs), len(indices), self._count or len(indices))
        self._slots = [_Slot(self._start(needs)) for _ in range(most)]
        running: dict[Actor, _Slot] = {}
        while left or running:
            self._submit_all(tasks, left, attempts, running)
            [done, *_], _ = self._ray.wait(list(running), num_returns=1)
            slot = running.pop(done)
            assert slot.index is not None
            index, slot.index, reference = slot.index, None, slot.value
            try:
                where, failure = self._ray.get(done)
                # The next task runs while the value of this one travels.
                self._submit_all(tasks, left, attempts, running)
                value = None if failure else self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise TransportError(f"{tasks[index].name}: {error.cause}") from error
            except self._ray.exceptions.RayError as error:
                if attempts[index] == MOST_TRIES:
                    raise died(tasks[index].name, reason(error)) from error
                left.appendleft((index, attempts[index] + 1))
                if slot.index is None:
                    slot.host = self._start(needs)
                continue
            yield outcome(index, where, (value, failure))

    def _submit_all(
        self,
        tasks: Sequence[Task],
        left: deque[tuple[int, int]],
        attempts: dict[int, int],
        running: dict[Actor, _Slot],
    ) -> None:
        """Give each idle actor a task."""
        for slot in self._slots:
            if slot.index is not None or not left:
                continue
            slot.index, attempts[slot.index] = left.popleft()
            task, attempt = tasks[slot.index], attempts[slot.index]
            run = slot.host.run.options(num_returns=2)
            ended, slot.value = run.remote(task.call, task.argument, attempt)
            running[ended] = slot

    def _room(self, needs: Mapping[str, float]) -> int:
        wanted = {"CPU": 1.0, **needs}
        return sum(
            min(
                int(node["Resources"].get(name, 0) // each)
                for name, each in wanted.items()
            )
            for node in self._ray.nodes()
            if node["Alive"]
        )

    def _start(self, needs: Mapping[str, float]) -> Actor:
        """Start an actor, and send it the files that its machine lacks."""
        needs = dict(needs)
        host = (
            self._ray.remote(TaskHost)
            .options(
                num_cpus=1,
                num_gpus=needs.pop("GPU", 0),
                resources=needs,
                scheduling_strategy="SPREAD",
            )
            .remote(self._modules)
        )
        try:
            self._sender.send(host, self._ray.get)
        except self._ray.exceptions.RayError as error:
            raise TransportError(
                f"a task process did not start: {reason(error)}"
            ) from error
        return host

    def close(self) -> None:
        """End the actors, and with them what they started."""
        for slot in self._slots:
            with suppress(Exception):  # it may be gone, or the whole cluster
                self._ray.kill(slot.host)
        self._slots = []


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
