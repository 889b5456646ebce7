"""A process on a node of the cluster that holds something, for a parent elsewhere.

Runs in an actor of Ray. The process is the same as on one machine; the actor passes
calls on, and its end closes the pipe, which ends the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from triton_kit.execute.cores import Cores, own_cores
from triton_kit.execute.gpus import Gpus, known_uuids
from triton_kit.execute.held import Ended, Held
from triton_kit.execute.held_processes import HeldProcess
from triton_kit.execute.load_host import HostFacts, node_facts
from triton_kit.execute.parcel import Parcel
from triton_kit.execute.priority import take_usual_priority
from triton_kit.execute.sending import FileReceiver
from triton_kit.execute.tasks import Failure, error_of, failure_of
from triton_kit.scratch import scratch_folder

# The parts of an `Ended`, as they travel: errors of the kit do not pickle whole.
Sent = tuple[Any, Failure | None, str]


class HeldHost(FileReceiver):
    """Starts a process, and passes calls on."""

    def __init__(self) -> None:
        take_usual_priority()
        super().__init__()
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(scratch_folder("task"))
        self._process: HeldProcess | None = None
        self._gpus = _assigned_gpus()

    def facts(self) -> tuple[HostFacts, Cores, Gpus]:
        """Return which machine this is, the cores that the actor may use, its GPUs.

        GPUs have their UUIDs here; one whose UUID is not known is left out.
        """
        return node_facts(), own_cores(), known_uuids(self._gpus)

    def unpack(self, parcels: Mapping[str, Parcel]) -> str:
        """Write files below a folder of this process, each parcel in one of its own."""
        for name, parcel in parcels.items():
            self._store.unpack(parcel, self._folder / name)
        return str(self._folder)

    def start(self, call: str, argument: object, cores: Cores) -> Sent:
        """Start the process; return its greeting."""
        held = Held(call=call, argument=argument)
        self._process = HeldProcess(held, cores, self._folder, self._gpus)
        return _sent(self._process.receive())

    def run(self, argument: object) -> Sent:
        """Make a call in the process, and wait for its end."""
        assert self._process is not None
        self._process.send(argument)
        return _sent(self._process.receive())

    def close(self) -> None:
        """End the process, and what it holds."""
        if self._process is not None:
            self._process.close()
        self._stack.close()


def _assigned_gpus() -> Gpus:
    """Return the GPUs that Ray assigned to this actor, as it names them."""
    import ray

    return tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ()))


def _sent(ended: Ended) -> Sent:
    failure = failure_of(ended.error) if ended.error else None
    return ended.value, failure, ended.died


def ended_of(slot: int, sent: Sent) -> Ended:
    """Return how a call in a process ended, from what its host sent."""
    value, failure, died = sent
    error = error_of(failure) if failure else None
    return Ended(slot=slot, value=value, error=error, died=died)
