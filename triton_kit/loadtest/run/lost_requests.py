"""What a lost worker did not send of its share, counted as failed requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.record.recorder import ErrorTally, Recording
from triton_kit.loadtest.request import NOT_SENT


class LostRequests:
    """Counts the requests of each share that are due, and those that were reported.

    A request that a worker sent and did not report before it was lost counts as not
    sent: no process knows how it ended. Of a closed loop without a count, these are the
    requests that the worker had in flight.
    """

    def __init__(
        self, times: Callable[[], Iterator[int]] | None, concurrency: int | None
    ) -> None:
        self._times = times
        self._concurrency = concurrency
        self._count: int | None = None
        self._start_ns = 0
        self._end_ns: int | None = None
        self._left: Iterator[int] = iter(())
        self._next_ns: int | None = None
        self._due = 0
        self._reported: dict[int, int] = {}
        self._missing: dict[int, int] = {}

    def begin(self, start_ns: int, count: int | None) -> None:
        """Start anew: a load of `count` requests in all begins at `start_ns`."""
        self._count, self._start_ns, self._end_ns = count, start_ns, None
        self._left = iter(()) if self._times is None else self._times()
        self._next_ns = next(self._left, None)
        self._due = 0
        self._reported.clear()
        self._missing.clear()

    def finish(self, end_ns: int) -> None:
        """Count nothing that is due at or after `end_ns`."""
        self._end_ns = end_ns

    def report(self, index: int, ended: int) -> None:
        """Note that a worker reported requests that ended."""
        self._reported[index] = self.reported(index) + ended

    def reported(self, index: int) -> int:
        """Return how many requests of a share have ended, as far as is known."""
        return self._reported.get(index, 0)

    def due(self, share: WorkerShare, at_ns: int) -> int | None:
        """Return how many requests of a share are due by a time; None if closed."""
        if self._times is None:
            return None
        end_ns = at_ns if self._end_ns is None else min(at_ns, self._end_ns)
        while self._next_ns is not None and self._start_ns + self._next_ns < end_ns:
            self._due += 1
            self._next_ns = next(self._left, None)
        whole = self._due if self._count is None else min(self._due, self._count)
        return share.exactly(whole)

    def count(
        self, share: WorkerShare, why: str, at_ns: int, recording: Recording
    ) -> None:
        """Add what a lost share owes to a recording, as requests that failed."""
        known = self.reported(share.index) + self._missing.get(share.index, 0)
        missing = self._owed(share, at_ns) - known
        if missing <= 0:
            return
        self._missing[share.index] = known - self.reported(share.index) + missing
        tally = recording.errors.setdefault(NOT_SENT, ErrorTally(example=why))
        tally.count += missing

    def _owed(self, share: WorkerShare, at_ns: int) -> int:
        if self._count is not None:
            return share.exactly(self._count)
        due = self.due(share, at_ns)
        if due is not None:
            return due
        # How many a closed loop would have sent is not known: it had these in flight.
        return self.reported(share.index) + share.of(self._concurrency or 0)
