"""What a load process and its parent send each other, pickled, over a pipe of theirs.

Both ends are our own processes on this machine; no message comes from the user.
"""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.record.backlog import BacklogSample
from triton_kit.loadtest.record.process_cpu import CpuTime
from triton_kit.loadtest.record.recorder import Snapshot
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.spec import PerfSpec


@dataclass(frozen=True, slots=True)
class Job:
    """First message to a worker: the spec, and the share of it to send."""

    spec: PerfSpec
    share: WorkerShare


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Make the loop of a load, and connect; the worker sends `Opened`."""

    load_index: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the load; the worker sends `Done` with this round when all has ended."""

    round: int
    at_ns: int
    count: int | None


@dataclass(frozen=True, slots=True)
class EndSequences:
    """End sequences that are cut short; the worker sends `Done` with this round."""

    round: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Send nothing that is due at or after `end_ns`."""

    end_ns: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Give up what is in flight."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Expire:
    """Fail requests that were due before `before_ns`; the worker sends `Counts`.

    Once a second it sends `Reported` before.
    """

    before_ns: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Return what was recorded since the last report; the worker sends `Taken`."""


Command = OpenLoop | Begin | EndSequences | Finish | Abandon | Expire | TakeSnapshot


@dataclass(frozen=True, slots=True)
class Ready:
    """All requests are encoded."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The loop is connected; the CPU time of the worker so far."""

    cpu: CpuTime


@dataclass(frozen=True, slots=True)
class Done:
    """Everything that was to be sent in this round has ended."""

    round: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Ended requests and responses since the last snapshot; an open loop's backlog.

    With the CPU time of the worker so far.
    """

    ended: int
    responses: int
    in_flight: int
    backlog: BacklogSample | None
    cpu: CpuTime


@dataclass(frozen=True, slots=True)
class Reported:
    """What was recorded since the last report or snapshot; the parent keeps it."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot, how many requests an open loop has sent, and the CPU time so far."""

    snapshot: Snapshot
    sent: int | None
    cpu: CpuTime


@dataclass(frozen=True, slots=True)
class Failed:
    """A `TritonKitError`, by the name of its class."""

    kind: str
    message: str
    hint: str | None


Event = Ready | Opened | Done | Counts | Reported | Taken | Failed
EventWithCpu = Opened | Counts | Taken
