"""The load of a measurement, sent from the nodes of a Ray cluster."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from multiprocessing import Pipe
from types import ModuleType
from typing import Any, TypeAlias

from triton_kit.errors import SpecError, TransportError, TritonKitError
from triton_kit.execute.cluster import (
    ExecutorChoice,
    connected,
    reason,
    require_resources,
)
from triton_kit.execute.load_host import HostFacts, LoadHost, host_facts
from triton_kit.execute.sending import FileSender
from triton_kit.execute.shipment import Shipment, files_of, pack, spec_on
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.clock_offset import measure_offset
from triton_kit.loadtest.run.worker_pool import (
    READY_WITHIN_S,
    StartWorkers,
    WorkerPool,
    check_shares,
    refuse_lost,
)
from triton_kit.loadtest.run.worker_process import Worker, collect
from triton_kit.loadtest.spec import PerfSpec

Actor: TypeAlias = Any  # Ray's actors and their methods have no types
_PROCESS = {"CPU": 1.0}
# The shortest of so many round trips bounds the offset of a clock.
_CLOCK_ROUNDS = 30
_CALL_WITHIN_S = 60.0
_END_WITHIN_S = 5.0


class RemoteWorker(Worker):
    """A load process on another node; the run goes on without it if it is lost."""

    def __init__(
        self,
        ray: ModuleType,
        host: Actor,
        share: WorkerShare,
        facts: HostFacts,
    ) -> None:
        ours, self._theirs = Pipe()
        super().__init__(share, ours)
        self._ray, self._host = ray, host
        self._facts, self._here = facts, host_facts()
        self._why = "it ended"
        self._reader = threading.Thread(target=self._pass_events_on, daemon=True)

    def start_reading(self) -> None:
        """Let a thread pass on what the load process sends."""
        self._reader.start()

    @property
    def node(self) -> str:
        """The name of its machine."""
        return self._facts.node

    def synchronize(self) -> None:
        """Measure how far the node's clock is ahead, where it is not the same one."""
        if self.lost is not None or self._facts.clock == self._here.clock:
            return
        try:
            self.clock = measure_offset(
                lambda: int(self._call(self._host.clock)), rounds=_CLOCK_ROUNDS
            )
        except TransportError as error:
            self.lose(error)

    @property
    def is_here(self) -> bool:
        """Whether its node is on this machine."""
        return self._facts.machine == self._here.machine

    def prepare(self, shipment: Shipment, sender: FileSender) -> str:
        """Start the load process with its files; return the folder they are in.

        Raises:
            TransportError: a file did not arrive whole, or the node is gone.
        """
        sender.send(self._host, self._wait)
        folder = self._call(self._host.unpack, dict(shipment.parcels))
        self._call(self._host.start)
        return str(folder)

    def close(self) -> None:
        """End the actor, and with it the load process."""
        with suppress(Exception):  # it may be gone, or the whole cluster
            self._ray.kill(self._host)
        if self._reader.is_alive():
            self._reader.join(_END_WITHIN_S)
        self.connection.close()

    def _deliver(self, message: messages.Job | messages.Command) -> None:
        try:
            self._host.send.remote(pickle.dumps(message))
        except Exception as error:  # Ray's own classes, by the kind of connection
            self._why = reason(error)
            raise ConnectionError(self._why) from error

    def _call(self, method: Actor, *words: object) -> Actor:
        with self._naming_loss():
            return self._ray.get(method.remote(*words), timeout=_CALL_WITHIN_S)

    def _wait(self, reference: Actor) -> Actor:
        with self._naming_loss():
            return self._ray.get(reference, timeout=_CALL_WITHIN_S)

    @contextmanager
    def _naming_loss(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._why = reason(error)
            raise self._death() from error

    def _pass_events_on(self) -> None:
        try:
            while True:
                events = self._ray.get(self._host.receive.remote())
                if isinstance(events, str):
                    self._why = events
                    return
                for event in events:
                    self._theirs.send_bytes(event)
        except Exception as error:
            self._why = reason(error)
        finally:
            self._theirs.close()

    def _death(self) -> TritonKitError:
        return TransportError(
            f"{self.name} was lost: {self._why}",
            hint="its share of the load counts as not sent",
        )


def ray_workers(choice: ExecutorChoice) -> StartWorkers:
    """Return what starts the load processes of a measurement in a cluster."""
    return partial(_start_workers, choice)


@contextmanager
def _start_workers(choice: ExecutorChoice, spec: PerfSpec) -> Iterator[WorkerPool]:
    check_shares(spec)
    with ExitStack() as stack:
        ray = stack.enter_context(connected(choice))
        require_resources(ray, "load processes", _PROCESS, count=spec.processes)
        workers = _place(ray, spec, stack)
        _refuse_own_address(spec, workers)
        _send_jobs(ray, spec, workers)
        collect(workers, messages.Ready, within_s=READY_WITHIN_S)
        refuse_lost(workers)
        reactor = stack.enter_context(Reactor())
        yield WorkerPool(spec, reactor, workers)


def _place(ray: ModuleType, spec: PerfSpec, stack: ExitStack) -> list[RemoteWorker]:
    """Start the actors, spread over the nodes; they end with `stack`."""
    actor = ray.remote(LoadHost)
    shares = [WorkerShare(index, spec.processes) for index in range(spec.processes)]
    hosts = []
    for share in shares:
        options = {"num_cpus": _PROCESS["CPU"], "scheduling_strategy": "SPREAD"}
        host = actor.options(max_concurrency=16, **options).remote(share)
        stack.callback(_kill, ray, host)
        hosts.append(host)
    try:
        facts = ray.get([host.facts.remote() for host in hosts], timeout=READY_WITHIN_S)
    except ray.exceptions.GetTimeoutError as error:
        raise TransportError(
            f"{spec.processes} load processes did not start in {READY_WITHIN_S:g} s",
            hint="ray status shows what else occupies the cluster's CPUs",
        ) from error
    except ray.exceptions.RayError as error:
        raise TransportError(
            f"a load process did not start: {reason(error)}"
        ) from error
    workers = []
    for host, share, fact in zip(hosts, shares, facts, strict=True):
        worker = RemoteWorker(ray, host, share, fact)
        stack.callback(worker.close)
        workers.append(worker)
    return workers


def _kill(ray: ModuleType, host: Actor) -> None:
    with suppress(Exception):
        ray.kill(host)


def _refuse_own_address(spec: PerfSpec, workers: list[RemoteWorker]) -> None:
    """Refuse addresses that are another machine on each node.

    Raises:
        SpecError: a server's address is this machine's own, and a node is another one.
    """
    elsewhere = [worker.node for worker in workers if not worker.is_here]
    for server in spec.servers:
        if elsewhere and _is_loopback(server.address.host):
            raise SpecError(
                f"{server.url}: on node {elsewhere[0]} that is the node itself",
                hint="-u with the server's address in the cluster's network",
            )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _send_jobs(ray: ModuleType, spec: PerfSpec, workers: list[RemoteWorker]) -> None:
    """Send each worker its files, once to a machine, and its share of the work."""
    shipment = pack(files_of(spec))
    sender = FileSender(ray, shipment.contents)
    for worker in workers:
        folder = worker.prepare(shipment, sender)
        worker.send(messages.Job(spec_on(spec, shipment, folder), worker.share))
    for worker in workers:
        worker.start_reading()
