"""What a load run needs of a loop that sends its load."""

from __future__ import annotations

from typing import Protocol

from triton_kit.loadtest.record.backlog import BacklogSample
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.request import Failure


class LoadLoop(Protocol):
    """Sends requests, in this process or in others, and records how they end.

    All times are CLOCK_MONOTONIC nanoseconds.
    """

    def begin(self, *, count: int | None = None, at_ns: int | None = None) -> int:
        """Start the load; `count` limits how many requests are sent in all.

        Returns:
            When the load begins: at `at_ns`, or as soon as it can.
        """

    @property
    def is_done(self) -> bool:
        """Whether everything that was to be sent has ended."""

    @property
    def sent(self) -> int | None:
        """Requests that an open loop sent since `begin`; None for a closed one."""

    @property
    def ended(self) -> int:
        """Requests that ended since the last snapshot, successful or failed."""

    @property
    def in_flight(self) -> int:
        """Requests that were sent and have no response."""

    @property
    def counted_ns(self) -> int:
        """When `ended` and `in_flight` were counted."""

    @property
    def responses(self) -> int:
        """Responses since the last snapshot: every one of a stream, and failed ones.

        Requests that timed out here are none.
        """

    @property
    def backlog(self) -> BacklogSample | None:
        """Requests that are due and have no response, while more will follow.

        None for a closed loop, and once the last request of an open one has left.
        """

    def finish(self, end_ns: int) -> None:
        """Send nothing that is due at or after `end_ns`; stop at the last response."""

    def end_sequences(self) -> None:
        """End the sequence of each slot that sends nothing more; counts nowhere.

        Until its end comes, a sequence holds a place in the server.
        """

    def abandon(self, failure: Failure) -> None:
        """Give up what is in flight and what was due, and send nothing more."""

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail requests that were due before `before_ns` and have no response."""

    def peek(self) -> Recording:
        """Return what was recorded since the last snapshot, as far as it is known."""

    def take_snapshot(self) -> Snapshot:
        """Return what was recorded since the last snapshot, and start anew."""
