"""What every load needs to send its requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from triton_kit.loadtest.loops.sequences import SequenceSource
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.request import Request


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """Which of `count` load processes this is; `index` counts from 0."""

    index: int = 0
    count: int = 1

    def of(self, whole: int) -> int:
        """Return this process's share of a number in flight; at least one."""
        return max(self.exactly(whole), 1)

    def exactly(self, whole: int) -> int:
        """Return this process's share; the shares of all processes add up."""
        return whole // self.count + (self.index < whole % self.count)

    def slot(self, own: int) -> int:
        """Return the number of a slot of this process among those of all processes."""
        return own * self.count + self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSetup:
    """What a load builds its loop from.

    Attributes:
        reactor: the event loop of this process.
        transport: sends the requests.
        requests: sent in turn, where there are no sequences; an iterator is endless,
            and the next load goes on where the last one stopped.
        sequence_source: the requests of each slot, where there are sequences.
        tracker: records how each request ended.
        max_in_flight: of an open loop; requests beyond it wait, which counts.
        spread: use all connections in turn instead of as few as possible.
        share: which part of the load this process sends.
    """

    reactor: Reactor
    transport: Transport
    requests: Sequence[Request] | Iterator[Request]
    sequence_source: SequenceSource | None
    tracker: RequestTracker
    max_in_flight: int
    spread: bool = False
    share: WorkerShare = field(default_factory=WorkerShare)
