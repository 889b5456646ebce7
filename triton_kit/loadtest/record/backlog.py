"""The backlog of an open loop: requests that are due and unanswered, over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Beyond this many notes only every second one is kept: a run may last for days.
_MOST_NOTES = 512
_FEWEST_NOTES = 8  # fewer tell nothing yet
# A quarter is sampled this often. While a machine pauses, nothing is noted: the backlog
# is then interpolated between the notes before and after.
_SAMPLES = 64


class BacklogSample(NamedTuple):
    """The requests of an open loop at some time."""

    due: int
    unanswered: int


class _Note(NamedTuple):
    at_ns: int
    backlog: BacklogSample


@dataclass(frozen=True, slots=True)
class BacklogGrowth:
    """How many requests were unanswered, on average, in two quarters of a run.

    Attributes:
        second_quarter: the first is left out, as it begins without a backlog.
        last_quarter: about the same if the server keeps up.
        rate: the rate at which they came due in the last, by that in the second.
    """

    second_quarter: float
    last_quarter: float
    rate: float


class BacklogHistory:
    """Remembers the backlog over the time of a run, or of one stage of it."""

    def __init__(self) -> None:
        self._notes: list[_Note] = []
        self._every = 1
        self._heard = 0

    def note(self, at_ns: int, backlog: BacklogSample) -> None:
        """Remember the backlog at a time; times ascend."""
        if self._heard % self._every == 0:
            self._notes.append(_Note(at_ns, backlog))
        self._heard += 1
        if len(self._notes) > _MOST_NOTES:
            del self._notes[1::2]
            self._every *= 2

    def growth(self) -> BacklogGrowth | None:
        """Return how the backlog grew; None if the run was too short."""
        if len(self._notes) < _FEWEST_NOTES:
            return None
        start_ns = self._notes[0].at_ns
        times = np.array([note.at_ns - start_ns for note in self._notes])
        due, unanswered = np.array([note.backlog for note in self._notes]).T

        def backlog_in(quarter: int) -> tuple[float, float]:
            """Return how many came due, and how many were unanswered on average."""
            moments = (quarter + np.linspace(0, 1, _SAMPLES)) * times[-1] / 4
            came = np.interp(moments[[0, -1]], times, due)
            return came[1] - came[0], np.interp(moments, times, unanswered).mean()

        came_before, before = backlog_in(1)
        came_last, last = backlog_in(3)
        return BacklogGrowth(
            second_quarter=float(before),
            last_quarter=float(last),
            rate=float(came_last / came_before) if came_before else 1.0,
        )
