"""Actors on the nodes of a Ray cluster that run tasks; others replace lost ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, TypeAlias

from triton_kit.conversion.workers.forked import preloaded_workers
from triton_kit.errors import SpecError, TransportError
from triton_kit.execute.cluster import node_name, reason, require_resources
from triton_kit.execute.ray_stages import StageReport
from triton_kit.execute.sending import FileReceiver, FileSender
from triton_kit.execute.tasks import MOST_TRIES, Failure, answer

Actor: TypeAlias = Any  # Ray's actors and references have no types
_log = logging.getLogger(__name__)

# A lost node may come back, or the cluster start another one.
NODE_WITHIN_S = 30.0
_WARN_AFTER_S = 10.0


class TaskHost(FileReceiver):
    """Runs tasks on a node, in an actor of Ray."""

    def __init__(self, modules: Sequence[str]) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._stack.enter_context(preloaded_workers())
        for module in modules:
            import_module(module)

    def node(self) -> str:
        """Return the name of the node."""
        return node_name()

    def run(
        self, call: str, argument: object, index: int, attempt: int, board: Actor
    ) -> tuple[tuple[list[str], Failure | None], object]:
        """Run a task; return its stages and a failure, and apart the value.

        There are no stages without a board.
        """
        stages: list[str] = []

        def report(stage: str) -> None:
            stages.append(stage)
            board.add.remote(StageReport(index, attempt, tuple(stages)))

        to_board = None if board is None else report
        value, failure = answer(call, argument, attempt, to_board)
        return (stages, failure), value


@dataclass(frozen=True, slots=True)
class Host:
    """An actor that has started, and the name of its node."""

    actor: Actor
    where: str


class HostPool:
    """Actors for tasks that need the same.

    They start by themselves, as soon as a node has room: no call waits for that.

    Args:
        ray: the module.
        modules: what the actors import first.
        sender: sends them files.
        needs: resources of each beyond one CPU.
    """

    def __init__(
        self,
        ray: ModuleType,
        modules: Sequence[str],
        sender: FileSender,
        needs: Mapping[str, float],
    ) -> None:
        self._ray, self._modules, self._sender = ray, modules, sender
        self._needs = dict(needs)
        self._actors: list[Actor] = []
        # By what to wait for.
        self.starting: dict[Actor, Actor] = {}
        self._failures = 0
        self._has_warned = False
        self._idle_since_s = self._room_since_s = time.monotonic()

    def start(self) -> None:
        """Start an actor."""
        needs = dict(self._needs)
        options = {"num_cpus": 1, "num_gpus": needs.pop("GPU", 0), "resources": needs}
        remote = self._ray.remote(TaskHost)
        actor = remote.options(**options, scheduling_strategy="SPREAD").remote(
            self._modules
        )
        self._actors.append(actor)
        self.starting[actor.node.remote()] = actor

    def joined(self, reference: Actor) -> Host | None:
        """Return an actor that has started, with all files that its machine lacked.

        None if its process or node died; then another one starts.

        Raises:
            TransportError: no actor can start.
        """
        actor = self.starting.pop(reference)
        try:
            where = self._ray.get(reference)
            self._sender.send(actor, self._ray.get)
        except self._ray.exceptions.RayError as error:
            self._failures += 1
            can_never = getattr(error, "actor_init_failed", False)
            if can_never or self._failures == MOST_TRIES:
                raise TransportError(
                    f"a task process did not start: {reason(error)}"
                ) from error
            self.replace(actor)
            return None
        self._failures = 0
        self.are_at_work()
        return Host(actor, f"node {where}")

    def replace(self, actor: Actor) -> None:
        """Start an actor in the place of one that died."""
        self._end(actor)  # one that does not respond may be alive
        self.start()

    def are_at_work(self) -> None:
        """Note that an actor runs: there is no need for a node."""
        self._idle_since_s = self._room_since_s = time.monotonic()

    def require_node(self, what: str) -> None:
        """Check that the cluster could start one; to be called while none runs.

        Raises:
            TransportError: for half a minute no node has had what an actor needs.
        """
        now_s, wanted = time.monotonic(), {"CPU": 1.0, **self._needs}
        waited = f"{what} waited {NODE_WITHIN_S:g} s for a node"
        try:
            require_resources(self._ray, waited, wanted)
        except SpecError as error:
            if now_s - self._room_since_s > NODE_WITHIN_S:
                raise TransportError(
                    error.message,
                    hint=f"start a node in the place of a lost one; {error.hint}",
                ) from error
            return
        self._room_since_s = now_s
        if now_s - self._idle_since_s > _WARN_AFTER_S and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "%s waits for a node with free resources: `ray status` shows what "
                "occupies them",
                what,
            )

    def close(self) -> None:
        """End the actors, and with them what they started."""
        for actor in self._actors[:]:
            self._end(actor)
        self.starting = {}

    def _end(self, actor: Actor) -> None:
        self._actors.remove(actor)
        with suppress(Exception):  # it may be gone, or the whole cluster
            self._ray.kill(actor)
