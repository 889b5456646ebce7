"""Who used the CPU: this client, a server on this machine, or other processes.

Where the client and the server may use some cores only, those count as the machine.
On a virtual machine, other machines of the same host count, too: time in which a core
had work and did not run ("steal").
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psutil

from triton_kit.errors import SpecError
from triton_kit.loadtest.net.clock import NS_PER_S, now_ns
from triton_kit.loadtest.record.process_cpu import LoadProcess, ProcessUse
from triton_kit.triton.address import Address

# A process with less CPU time than this share of the server's work is not the server.
_PROXY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class CpuSample:
    """CPU seconds since some time in the past, each ever growing.

    `machine_s` is not idle, `stolen_s` the part of it that the host gave to others.
    `own_s` is of this process; `processes` are the others that send.
    `server_s` is None where the server is on another machine, or not ours to see;
    `servers` are the processes that it was, `server_memory_bytes` the resident memory
    of them and their child processes.
    """

    at_ns: int
    machine_s: float
    stolen_s: float
    own_s: float
    server_s: float | None
    processes: tuple[LoadProcess, ...] = ()
    servers: tuple[psutil.Process, ...] = ()
    server_memory_bytes: float | None = None
    cores: int = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU seconds within a stretch of time, and its length in seconds.

    `own_s` is of this process, `processes` are the others that send, on any machine.
    `has_server_ended` is whether the process that was the server is gone; what it used
    is not known then. `is_server_hidden` is whether the server is on this machine and
    its process cannot be known: what it used is among the CPU of other processes.
    """

    length_s: float
    machine_s: float
    own_s: float
    server_s: float | None
    processes: tuple[ProcessUse, ...] = ()
    stolen_s: float = 0.0
    cores: int = os.cpu_count() or 1  # of the machine, or those that both may use
    has_server_ended: bool = False
    is_server_hidden: bool = False

    @property
    def client_s(self) -> float:
        """CPU seconds of all processes of the client."""
        return self.own_s + sum(process.spent_s for process in self.processes)

    @property
    def client_here_s(self) -> float:
        """CPU seconds of those processes of the client that run on this machine."""
        here = (process.spent_s for process in self.processes if process.is_here)
        return self.own_s + sum(here)

    @property
    def busiest(self) -> ProcessUse:
        """The busiest process of the client: none of them can use more than a core."""
        name = "the process that collects the results"
        own = ProcessUse(name if self.processes else "the client", self.own_s)
        return max([own, *self.processes], key=lambda process: process.spent_s)

    @property
    def busiest_cores(self) -> float:
        """Cores kept busy by the busiest process of the client."""
        return self._cores(self.busiest.spent_s)

    @property
    def process_cores(self) -> tuple[float, ...]:
        """Cores kept busy by each process that sends beside this one."""
        return tuple(self._cores(process.spent_s) for process in self.processes)

    @property
    def lost_cores(self) -> float:
        """Cores that were not idle and that neither the client nor the server had.

        Counted from clock ticks of 10 ms, so short stretches are coarse, and a large
        machine that mostly idles may seem to lose some.
        """
        ours_s = self.client_here_s + (self.server_s or 0.0)
        return self._cores(max(self.machine_s - ours_s, 0.0))

    @property
    def stolen_cores(self) -> float:
        """Lost cores that the host of a virtual machine gave to other machines.

        Not more than were lost: some kernels count stolen time for a process, too.
        """
        return min(self._cores(self.stolen_s), self.lost_cores)

    @property
    def foreign_cores(self) -> float:
        """Lost cores that other processes of this machine kept busy."""
        return self.lost_cores - self.stolen_cores

    def with_server_work(self, work_s: float) -> CpuUse:
        """Compare the server's CPU time with the compute time that it counted.

        A process that used far less may be a proxy in front of the server, if other
        processes used about as much CPU as the work takes. Else the work was done by
        a GPU. A server without counters (`work_s` is 0) is taken as it is.
        """
        if not work_s or self.server_s is None:
            return self
        if self.server_s > _PROXY_SHARE * work_s:
            return self
        if self.foreign_cores * self.length_s < _PROXY_SHARE * work_s:
            return self
        return replace(self, server_s=None, is_server_hidden=True)

    @property
    def client_cores(self) -> float:
        """Cores kept busy by all processes of the client, on any machine."""
        return self._cores(self.client_s)

    @property
    def server_cores(self) -> float | None:
        """Cores kept busy by the server; None if they are not known."""
        return None if self.server_s is None else self._cores(self.server_s)

    @property
    def machine_share(self) -> float:
        """How much of the whole machine was busy, 0 to 1."""
        # Its clock ticks are those of the whole machine, counted a little later.
        return min(self._cores(self.machine_s) / self.cores, 1.0)

    def _cores(self, spent_s: float) -> float:
        return spent_s / self.length_s if self.length_s else 0.0


class CpuWatch:
    """Samples the CPU time of this machine, the client and its local servers.

    `processes` returns what is known of the processes that send beside this one,
    always in the same order.

    Raises:
        SpecError: there is no process `server_pid`.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        processes: Callable[[], Sequence[LoadProcess]] = tuple,
        *,
        server_pid: int | None = None,
    ) -> None:
        if server_pid is not None and not psutil.pid_exists(server_pid):
            raise SpecError(
                f"server process {server_pid}: this machine has no such process",
                hint="leave --server-pid out if the server runs on another machine, or "
                "as you on this one: its port tells its process",
            )
        self._addresses = addresses
        self._server_pid = server_pid
        self._servers = self._find_servers()
        self._cores = _cores_of(self._servers)
        self._family: list[psutil.Process] = []
        self._is_hidden = server_pid is None and any(
            _is_local(address.host) and server_process(address) is None
            for address in addresses
        )
        self._processes = processes

    @property
    def has_processes(self) -> bool:
        """Whether processes beside this one send."""
        return bool(self._processes())

    def sample(self) -> CpuSample:
        """Read all counters now."""
        if not all(map(_is_alive, self._servers)):
            # It may have been restarted. If not yet, the next sample tries again.
            found = self._find_servers()
            if len(found) >= len(self._servers):
                self._servers = found
        self._family = self._find_family()
        return self.sample_known()

    def sample_known(self) -> CpuSample:
        """Read all counters now, of the processes that the last `sample` found.

        Quick enough during a load: it does not look through all of the machine.
        """
        machine_s, stolen_s = _machine_s(self._cores)
        return CpuSample(
            now_ns(),
            machine_s,
            stolen_s,
            time.process_time_ns() / NS_PER_S,
            _spent_by(self._family),
            tuple(self._processes()),
            self._servers,
            _memory_of(self._family),
            len(self._cores) or os.cpu_count() or 1,
        )

    def _find_servers(self) -> tuple[psutil.Process, ...]:
        if self._server_pid is None:
            found = map(server_process, self._addresses)
            return tuple(dict.fromkeys(process for process in found if process))
        try:
            return (psutil.Process(self._server_pid),)
        except psutil.Error:
            return ()

    def since(self, before: CpuSample) -> CpuUse:
        """Return the CPU used since `before`; that of a restarted server is unknown."""
        now = self.sample()
        is_same = now.servers == before.servers
        return replace(
            cpu_between(before, now),
            has_server_ended=bool(before.servers)
            and not (is_same and all(map(_is_alive, before.servers))),
            is_server_hidden=self._is_hidden,
        )

    def server_cores_since(self, before: CpuSample) -> float | None:
        """Return the cores that the server has used since; None where not known.

        Quick enough to ask during a load: it asks the processes that the last sample
        found, instead of looking through all of the machine.
        """
        spent_s = _spent_by(self._family)
        length_s = (now_ns() - before.at_ns) / NS_PER_S
        if spent_s is None or before.server_s is None or not length_s:
            return None
        return max(spent_s - before.server_s, 0.0) / length_s

    def _find_family(self) -> list[psutil.Process]:
        """Return the servers and their child processes; none if one is gone."""
        try:
            return [
                process
                for server in self._servers
                for process in (server, *server.children(recursive=True))
            ]
        except psutil.Error:
            return []


def cpu_between(before: CpuSample, now: CpuSample) -> CpuUse:
    """Return the CPU used between two samples; that of another server is unknown."""
    server_s = None
    is_same = now.servers == before.servers
    if is_same and now.server_s is not None and before.server_s is not None:
        server_s = now.server_s - before.server_s
    length_s = (now.at_ns - before.at_ns) / NS_PER_S
    processes = zip(now.processes, before.processes, strict=True)
    return CpuUse(
        length_s,
        now.machine_s - before.machine_s,
        now.own_s - before.own_s,
        server_s,
        tuple(late.use_since(early, length_s) for late, early in processes),
        now.stolen_s - before.stolen_s,
        now.cores,
        has_server_ended=bool(before.servers) and server_s is None,
    )


def _memory_of(family: Sequence[psutil.Process]) -> float | None:
    """Return the resident bytes of processes; None where one of them is gone."""
    if not family:
        return None
    try:
        return float(sum(process.memory_info().rss for process in family))
    except psutil.Error:
        return None


def _spent_by(family: Sequence[psutil.Process]) -> float | None:
    """Return the CPU seconds of processes; None where one of them is gone."""
    if not family:
        return None
    try:
        times = [process.cpu_times() for process in family]
    except psutil.Error:
        return None
    return float(sum(spent.user + spent.system for spent in times))


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def server_process(address: Address) -> psutil.Process | None:
    """Find the process that listens at an address of this machine, if we may see it."""
    try:
        if not _is_local(address.host):
            return None
        for entry in psutil.net_connections(kind="tcp"):
            listens = entry.status == psutil.CONN_LISTEN and entry.pid
            if listens and entry.laddr and entry.laddr.port == address.port:
                return psutil.Process(entry.pid)
    except (psutil.Error, OSError):
        return None
    return None


def _is_local(host: str) -> bool:
    """An address that can be bound is one of this machine."""
    try:
        family, _, _, _, sockaddr = socket.getaddrinfo(host, 0)[0]
        with socket.socket(family) as probe:
            probe.bind(sockaddr)
    except OSError:
        return False
    return True


def _cores_of(servers: Sequence[psutil.Process]) -> frozenset[int]:
    """Return the cores that this process and the servers may use; empty: all."""
    try:
        each = [set(process.cpu_affinity()) for process in servers]
    except psutil.Error:
        return frozenset()
    cores = frozenset(os.sched_getaffinity(0)).union(*each)
    return cores if each and len(cores) < (os.cpu_count() or 1) else frozenset()


def _machine_s(cores: frozenset[int]) -> tuple[float, float]:
    """Return the CPU seconds of cores that were not idle, and those stolen."""
    every = psutil.cpu_times(percpu=True) if cores else [psutil.cpu_times()]
    chosen = [every[core] for core in cores if core < len(every)] or every
    worked_s = sum(
        spent.user + spent.nice + spent.system + spent.irq + spent.softirq
        for spent in chosen
    )
    stolen_s = sum(spent.steal for spent in chosen)
    return worked_s + stolen_s, stolen_s
