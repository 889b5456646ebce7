"""Processes on the nodes of a Ray cluster that hold something between calls."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

from triton_kit.errors import SpecError, TransportError
from triton_kit.execute.cluster import (
    ExecutorChoice,
    connected,
    reason,
    require_resources,
)
from triton_kit.execute.cores import Cores, pick
from triton_kit.execute.gpus import Gpus
from triton_kit.execute.held import Ended, Held
from triton_kit.execute.held_host import HeldHost, ended_of
from triton_kit.execute.held_processes import greeting_of
from triton_kit.execute.load_host import HostFacts
from triton_kit.execute.sending import FileSender
from triton_kit.execute.shipment import Shipment, pack
from triton_kit.execute.tasks import MOST_TRIES

Actor: TypeAlias = Any  # Ray's actors and references have no types
_READY_WITHIN_S = 60.0
_CALL_WITHIN_S = 300.0
_END_WITHIN_S = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many processes there are in a cluster, and what each has.

    Attributes:
        count: None: one for each node, or as many as have GPUs of their own.
        cores: of each, as Ray counts them; None: as many as fit.
        gpus: of each; 0: none is assigned.
        may_share: whether processes on one machine may share its cores.
    """

    count: int | None
    cores: int | None
    gpus: int = 0
    may_share: bool = False

    def on(self, nodes: Sequence[Mapping[str, float]]) -> tuple[int, int]:
        """Return how many processes there are on nodes, and the cores of each.

        What does not fit is refused when the processes are placed.

        Args:
            nodes: the resources of each.
        """
        least = self.cores or 1
        count = self.count or self._usual_count(nodes, least) or 1
        if self.cores:
            return count, self.cores
        most = max((node.get("CPU", 0.0) for node in nodes), default=1.0)
        fits = [
            size
            for size in range(1, int(most) + 1)
            if sum(self._fitting(nodes, size)) >= count
        ]
        return count, max(fits, default=1)

    def _usual_count(self, nodes: Sequence[Mapping[str, float]], cores: int) -> int:
        fitting = self._fitting(nodes, cores)
        return sum(fitting) if self.gpus else sum(map(bool, fitting))

    def _fitting(self, nodes: Sequence[Mapping[str, float]], cores: int) -> list[int]:
        """Return how many processes with so many cores each node has room for."""
        wanted = self.needs(cores).items()
        return [
            min(int(node.get(name, 0.0) // each) for name, each in wanted)
            for node in nodes
        ]

    def needs(self, cores: int) -> dict[str, float]:
        """Return the resources of a process, as Ray names them."""
        gpus = {"GPU": float(self.gpus)} if self.gpus else {}
        return {"CPU": float(cores), **gpus}


@dataclass(slots=True)
class _Slot:
    """An actor on a node, and what its process has there.

    `gpus` are known UUIDs of its GPUs.
    """

    host: Actor
    facts: HostFacts
    available: Cores
    gpus: Gpus = ()
    cores: Cores = ()


@dataclass(slots=True)
class _Coming:
    """An actor that starts in the place of a lost one; `facts` comes when it has."""

    host: Actor
    facts: Actor
    is_reported: bool = False


class RaySlots:
    """Processes on nodes that hold the same, each in an actor of its own."""

    def __init__(self, ray: ModuleType, held: Held, room: Room) -> None:
        self._ray, self._held, self._room = ray, held, room
        self._shipment: Shipment = pack(held.files, held.folders)
        self._sender = FileSender(ray, self._shipment.contents)
        self._group: Actor = None
        self._slots: dict[int, _Slot] = {}
        self._running: dict[Actor, int] = {}
        self._coming: dict[int, _Coming] = {}
        self._failures: Counter[int] = Counter()
        self._last_end_s = time.monotonic()
        self._places: dict[int, tuple[str, Cores]] = {}
        self.greetings: list[Any] = []
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.count, self._each = room.on(nodes)

    def open(self, most: int | None = None) -> None:
        """Start the processes; `most` of them.

        Raises:
            SpecError: the cluster has too few CPUs or GPUs, or a machine too few
                cores.
            TransportError: they did not start.
            TritonKitError: one of them cannot hold it.
        """
        wanted = self._room.needs(self._each)
        require_resources(self._ray, "trials at once", wanted, count=self.count)
        from ray.util.placement_group import placement_group

        # All of them or none: two trials never wait for each other's nodes.
        self._group = placement_group([wanted] * self.count, strategy="SPREAD")
        if not self._group.wait(_READY_WITHIN_S):
            raise TransportError(
                f"{self.count} trials at once, {_text(wanted)} each: the cluster did "
                f"not have them free in {_READY_WITHIN_S:g} s",
                hint="ray status shows what else occupies the cluster",
            )
        count = min(self.count, most or self.count)
        hosts = [self._actor() for _ in range(count)]
        for slot, host in enumerate(hosts):
            self._slots[slot] = _Slot(host, *self._call(host.facts))
        for slot in range(count):
            self._require_own_gpus(slot)
            self._choose_cores(slot)
        greetings = [self._start(slot) for slot in range(count)]
        for slot, greeting in enumerate(greetings):
            came = ended_of(slot, self._get(greeting, _CALL_WITHIN_S))
            self.greetings.append(greeting_of(came))

    def _actor(self) -> Actor:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        # Any of its bundles that is free: that of a lost node may be nowhere.
        strategy = PlacementGroupSchedulingStrategy(placement_group=self._group)
        remote = self._ray.remote(HeldHost)
        return remote.options(
            num_cpus=self._each,
            num_gpus=self._room.gpus or None,
            scheduling_strategy=strategy,
        ).remote()

    def _others(self, slot: int) -> list[_Slot]:
        """Return the other processes on the machine of one."""
        machine = self._slots[slot].facts.machine
        return [
            other
            for number, other in self._slots.items()
            if number != slot and other.facts.machine == machine
        ]

    def _require_own_gpus(self, slot: int) -> None:
        """Refuse nodes of one machine that count the same GPU.

        Raises:
            SpecError: another process has one of the GPUs.
        """
        own = self._slots[slot]
        for other in self._others(slot):
            if shared := sorted({*own.gpus} & {*other.gpus}):
                raise SpecError(
                    f"nodes {own.facts.node} and {other.facts.node} are one machine, "
                    f"and each counts GPU {shared[0]} as its own",
                    hint="start each of them with GPUs of its own: "
                    "CUDA_VISIBLE_DEVICES=0,1 ray start --num-gpus 2",
                )

    def _choose_cores(self, slot: int) -> None:
        """Choose cores that no other process on that machine has."""
        own = self._slots[slot]
        others = [other.cores for other in self._others(slot)]
        try:
            own.cores = pick(
                own.available, self._each, others, may_share=self._room.may_share
            )
        except SpecError as error:
            message = f"node {own.facts.node}: {error.message}"
            raise SpecError(message, hint=error.hint) from error
        self._places[slot] = own.facts.node, own.cores

    def _start(self, slot: int) -> Actor:
        """Send a node the files that its machine lacks, and start its process."""
        own, shipment = self._slots[slot], self._shipment
        self._sender.send(own.host, partial(self._get, within_s=_READY_WITHIN_S))
        folder = self._call(own.host.unpack, dict(shipment.parcels))
        argument = self._held.argument
        if self._held.moved is not None:
            argument = self._held.moved(shipment, folder)
        return own.host.start.remote(self._held.call, argument, own.cores)

    def cores(self, slot: int) -> Cores:
        """Return the cores of a process."""
        return self._places[slot][1]

    def node(self, slot: int) -> str:
        """Return the name of its node."""
        return self._places[slot][0]

    def begin(self, slot: int, argument: Any) -> bool:  # noqa: ANN401
        """Make a call in a process, which is started again where there is none.

        Returns:
            Whether it could be: no node may have room for it any more.
        """
        if slot not in self._slots and not self._has_started_again(slot):
            return False
        reference = self._slots[slot].host.run.remote(argument)
        self._running[reference] = slot
        return True

    def _start_again(self, slot: int) -> None:
        """Start an actor in the place of a lost one, as soon as a node has room."""
        host = self._actor()
        self._coming[slot] = _Coming(host, host.facts.remote())

    def _has_started_again(self, slot: int) -> bool:
        """Return whether there is a process in the place of a lost one now."""
        if slot not in self._coming and self._failures[slot] < MOST_TRIES:
            self._start_again(slot)
        if slot not in self._coming:
            return False
        host, facts = self._coming[slot].host, self._coming[slot].facts
        left_s = self._last_end_s + _READY_WITHIN_S - time.monotonic()
        within_s = 0.0 if self._running else max(left_s, 0.0)
        if not self._ray.wait([facts], timeout=within_s)[0]:
            return False
        del self._coming[slot]
        try:
            self._slots[slot] = _Slot(host, *self._get(facts, _READY_WITHIN_S))
            self._require_own_gpus(slot)
            self._choose_cores(slot)
            came = ended_of(slot, self._get(self._start(slot), _CALL_WITHIN_S))
        except (TransportError, SpecError):
            self._fail(slot, host)
            return False
        if came.died:
            self._fail(slot, host)
            return False
        self.greetings[slot] = greeting_of(came)
        self._failures[slot] = 0
        return True

    def _fail(self, slot: int, host: Actor) -> None:
        self._failures[slot] += 1
        self._slots.pop(slot, None)
        self._kill(host)

    def wait(self) -> list[Ended]:
        """Wait until a call ends, or an actor has started again; return the ends."""
        coming = {c.facts: c for c in self._coming.values() if not c.is_reported}
        [done], _ = self._ray.wait([*self._running, *coming], num_returns=1)
        if done in self._running:
            return [self._ended(done)]
        coming[done].is_reported = True
        return []

    def _ended(self, reference: Actor) -> Ended:
        slot = self._running.pop(reference)
        self._last_end_s = time.monotonic()
        try:
            ended = ended_of(slot, self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:
            raise TransportError(f"a trial: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            ended = Ended(slot=slot, died=reason(error))
        if ended.died or ended.error:
            self._end(slot)
        if ended.died:
            self._start_again(slot)
        return ended

    def is_up(self, slot: int) -> bool:
        """Return whether there is a process, as far as that is known."""
        return slot in self._slots

    def keep(self, slot: int) -> None:
        """End all other processes, and wait for that."""
        others = {*self._slots, *self._coming} - {slot}
        self._close(sorted(others))

    def close(self) -> None:
        """End all processes, and give the CPUs back."""
        self._close([*self._slots, *self._coming])
        if self._group is not None:
            from ray.util.placement_group import remove_placement_group

            with suppress(Exception):  # the cluster may be gone
                remove_placement_group(self._group)

    def _close(self, slots: Sequence[int]) -> None:
        busy = set(self._running.values())
        with suppress(Exception):  # a host may be gone, or the whole cluster
            closing = [
                self._slots[slot].host.close.remote()
                for slot in slots
                if slot in self._slots and slot not in busy
            ]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_END_WITHIN_S)
        for slot in slots:
            self._end(slot)

    def _end(self, slot: int) -> None:
        """End an actor; its process ends as the pipe to it closes."""
        gone = self._slots.pop(slot, None)
        if gone is not None:
            self._kill(gone.host)
        coming = self._coming.pop(slot, None)
        if coming is not None:
            self._kill(coming.host)

    def _kill(self, host: Actor) -> None:
        with suppress(Exception):  # it may be gone, or the whole cluster
            self._ray.kill(host)

    def _call(self, method: Actor, *words: object) -> Actor:
        return self._get(method.remote(*words), _READY_WITHIN_S)

    def _get(self, reference: Actor, within_s: float) -> Actor:
        try:
            return self._ray.get(reference, timeout=within_s)
        except self._ray.exceptions.GetTimeoutError as error:
            raise TransportError(
                f"a process for trials did not respond in {within_s:g} s",
                hint="ray status shows what else occupies the cluster",
            ) from error
        except self._ray.exceptions.RayError as error:
            raise TransportError(
                f"a process for trials did not start: {reason(error)}"
            ) from error


def _text(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{count:g} {name}s" for name, count in resources.items())


@contextmanager
def ray_slots(
    choice: ExecutorChoice, held: Held, room: Room, *, most: int | None = None
) -> Iterator[RaySlots]:
    """Yield processes that end with the context, or with this process.

    Args:
        choice: the cluster.
        held: what each holds.
        room: how many, and what each has.
        most: of them are started; None: all.

    Raises:
        SpecError: there is no such cluster, or it has too few CPUs, GPUs or cores.
        TransportError: they did not start.
        TritonKitError: one of them cannot hold it.
    """
    with connected(choice) as ray:
        slots = RaySlots(ray, held, room)
        try:
            slots.open(most)
            yield slots
        finally:
            slots.close()
