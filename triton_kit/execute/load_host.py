"""One load process on a node of the cluster, for a parent on another machine.

Runs in an actor of Ray. The load process is the same as on one machine; the actor
passes messages on, and its end closes the pipe, which ends the load process.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from triton_kit.execute.cluster import node_name
from triton_kit.execute.parcel import Parcel
from triton_kit.execute.priority import take_usual_priority
from triton_kit.execute.sending import FileReceiver
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.run.worker_process import WorkerProcess, start_worker
from triton_kit.scratch import scratch_folder


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Which machine and which clock an actor has."""

    node: str
    machine: str
    clock: str


def host_facts(node: str = "") -> HostFacts:
    """Return which machine and which clock this process has.

    Processes of one kernel and one time namespace read the same CLOCK_MONOTONIC.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    namespace = Path("/proc/self/ns/time")
    clock = str(namespace.readlink()) if namespace.exists() else ""
    return HostFacts(node, boot, f"{boot} {clock}")


def node_facts() -> HostFacts:
    """Return which machine and which clock the node of this actor has."""
    return host_facts(node_name())


class LoadHost(FileReceiver):
    """Starts a load process, and passes its messages on."""

    def __init__(self, share: WorkerShare) -> None:
        take_usual_priority()
        super().__init__()
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(scratch_folder("task"))
        self._arrived = asyncio.Event()
        self._events: list[bytes] = []
        self._ending: str | None = None
        self._worker: WorkerProcess | None = None
        self._share = share

    async def facts(self) -> HostFacts:
        """Return which machine and clock this is."""
        return node_facts()

    async def clock(self) -> int:
        """Return this machine's monotonic time in nanoseconds."""
        return time.monotonic_ns()

    async def pids(self) -> tuple[int, int]:
        """Return the ids of the actor's process and of its load process."""
        assert self._worker is not None
        return os.getpid(), self._worker.pid

    async def unpack(self, parcels: Mapping[str, Parcel]) -> str:
        """Write files below a folder of this process, each parcel in one of its own."""
        for name, parcel in parcels.items():
            self._store.unpack(parcel, self._folder / name)
        return str(self._folder)

    async def start(self) -> None:
        """Start the load process."""
        log = self._folder / "worker.log"
        self._worker = self._stack.enter_context(start_worker(self._share, log))
        loop, descriptor = asyncio.get_running_loop(), self._worker.connection.fileno()
        loop.add_reader(descriptor, self._read, descriptor)
        # Ray takes uvloop where it is installed, which makes what it watches
        # non-blocking: half of a message would be an error, and a command be lost.
        os.set_blocking(descriptor, True)

    async def send(self, message: bytes) -> None:
        """Pass a command to the load process."""
        assert self._worker is not None
        with suppress(OSError):  # it died, which `receive` tells
            self._worker.connection.send_bytes(message)

    async def receive(self) -> list[bytes] | str:
        """Wait for events; return how the load process ended once it has."""
        await self._arrived.wait()
        if self._events:
            events, self._events = self._events, []
            if self._ending is None:
                self._arrived.clear()
            return events
        assert self._ending is not None
        return self._ending

    def _read(self, descriptor: int) -> None:
        assert self._worker is not None
        try:
            while self._worker.connection.poll():
                self._events.append(self._worker.connection.recv_bytes())
        except (EOFError, OSError) as error:
            asyncio.get_running_loop().remove_reader(descriptor)
            self._ending = self._worker.ending(error)
        self._arrived.set()
