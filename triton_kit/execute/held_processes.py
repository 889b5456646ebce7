"""Processes of this machine that hold something between calls."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from triton_kit.errors import ServerError
from triton_kit.execute.cores import Cores
from triton_kit.execute.gpus import VISIBLE, Gpus
from triton_kit.execute.held import Ended, Held
from triton_kit.execute.piped_process import PipedProcess
from triton_kit.execute.tasks import error_of
from triton_kit.scratch import scratch_folder

_PROGRAM = "triton_kit.execute.held_worker"
# A server that it holds has as long to end, and Triton's own exit needs some time.
_STOP_WITHIN_S = 30.0


class HeldProcess(PipedProcess):
    """One process, from its start to its end.

    Args:
        held: what it holds.
        cores: that it runs on; empty: all.
        folder: for its log.
        gpus: that it and its children see; empty: those that this process sees.
    """

    def __init__(self, held: Held, cores: Cores, folder: Path, gpus: Gpus = ()) -> None:
        super().__init__(
            _PROGRAM,
            ",".join(map(str, cores)) or "all",
            held.call,
            folder=folder,
            stop_within_s=_STOP_WITHIN_S,
            env=os.environ | {VISIBLE: ",".join(gpus)} if gpus else None,
        )
        self.send(held.argument)

    def send(self, argument: Any) -> None:  # noqa: ANN401
        """Send the argument of the context, or of a call."""
        with suppress(OSError):  # it died, which shows as its answer is read
            self.connection.send(argument)

    def receive(self) -> Ended:
        """Read the greeting, or how a call ended; the slot is not known here."""
        try:
            value, failure = self.connection.recv()
        except (EOFError, OSError):
            return Ended(slot=-1, died=self.ending(lines=1))
        return Ended(slot=-1, value=value, error=failure and error_of(failure))


class LocalSlots:
    """Processes of this machine that hold the same."""

    def __init__(
        self, held: Held, cores: Sequence[Cores], folder: Path, gpus: Sequence[Gpus]
    ) -> None:
        self._held, self._cores, self._folder = held, cores, folder
        self._gpus = gpus
        self._processes: dict[int, HeldProcess] = {}
        self._starting: set[int] = set()
        self._busy: set[int] = set()
        self.greetings: list[Any] = []

    def open(self) -> None:
        """Start all processes.

        Raises:
            TritonKitError: one of them cannot hold it.
        """
        for slot in range(len(self._cores)):
            self._start(slot)
        for process in self._processes.values():
            self.greetings.append(greeting_of(process.receive()))
        self._starting.clear()

    def _start(self, slot: int) -> None:
        self._starting.add(slot)
        gpus = self._gpus[slot] if self._gpus else ()
        self._processes[slot] = HeldProcess(
            self._held, self._cores[slot], self._folder, gpus
        )

    def cores(self, slot: int) -> Cores:
        """Return the cores of a process."""
        return self._cores[slot]

    def node(self, slot: int) -> str:  # noqa: ARG002
        """Return the name of its machine: this one."""
        return ""

    def begin(self, slot: int, argument: Any) -> bool:  # noqa: ANN401
        """Make a call in a process, which is started where there is none."""
        if slot not in self._processes:
            self._start(slot)
        self._busy.add(slot)
        self._processes[slot].send(argument)
        return True

    def wait(self) -> list[Ended]:
        """Wait until a call ends; return those that have."""
        ended: list[Ended] = []
        while not ended:
            slots = {self._processes[slot].connection: slot for slot in self._busy}
            for connection in wait(slots):
                assert isinstance(connection, Connection)
                ended += self._receive(slots[connection])
        return ended

    def _receive(self, slot: int) -> list[Ended]:
        came = self._processes[slot].receive()
        is_greeting = slot in self._starting
        self._starting.discard(slot)
        if came.died or came.error:
            self._processes.pop(slot).close()
        elif is_greeting:
            self.greetings[slot] = came.value
            return []
        self._busy.discard(slot)
        return [replace(came, slot=slot)]

    def is_up(self, slot: int) -> bool:
        """Return whether there is a process."""
        return slot in self._processes

    def keep(self, slot: int) -> None:
        """End all other processes."""
        self._end([other for other in self._processes if other != slot])

    def close(self) -> None:
        """End all processes."""
        self._end(list(self._processes))

    def _end(self, slots: Sequence[int]) -> None:
        ending = [self._processes.pop(slot) for slot in slots]
        for process in ending:
            process.let_go()
        with ExitStack() as stack:  # each is ended, also if one cannot be
            for process in ending:
                stack.callback(process.close)


def greeting_of(came: Ended) -> Any:  # noqa: ANN401
    """Return the greeting of a process.

    Raises:
        TritonKitError: it has none.
    """
    if came.error:
        raise came.error
    if came.died:
        raise ServerError(f"a process for trials did not start: {came.died}")
    return came.value


@contextmanager
def local_slots(
    held: Held, cores: Sequence[Cores], gpus: Sequence[Gpus] = ()
) -> Iterator[LocalSlots]:
    """Yield processes that end with the context, or with this process.

    Args:
        held: what each holds.
        cores: of each.
        gpus: of each; empty: all see those that this process sees.

    Raises:
        TritonKitError: one of them cannot hold it.
    """
    with scratch_folder("task") as folder:
        slots = LocalSlots(held, cores, folder, gpus)
        try:
            slots.open()
            yield slots
        finally:
            slots.close()
