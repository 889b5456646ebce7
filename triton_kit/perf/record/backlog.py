"""What an open loop is owed: requests that are due and unanswered, over time."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

# Beyond this many notes only every second one is kept: a run may last for days.
_MOST_NOTES = 512


class Owed(NamedTuple):
    """The requests of an open loop at some time."""

    due: int
    unanswered: int


class _Note(NamedTuple):
    at_ns: int
    owed: Owed


@dataclass(frozen=True, slots=True)
class Growth:
    """How many requests were unanswered, on average, in two quarters of a run.

    Attributes:
        second_quarter: the first is left out, as it begins with nothing owed.
        last_quarter: a server that keeps up owes about as much as before.
        rate: the rate at which they came due in the last, by that in the second.
    """

    second_quarter: float
    last_quarter: float
    rate: float


class Backlog:
    """Remembers what was owed at which time of a run."""

    def __init__(self) -> None:
        self._notes: list[_Note] = []
        self._every = 1
        self._heard = 0

    def note(self, at_ns: int, owed: Owed) -> None:
        """Remember what is owed; times ascend."""
        if self._heard % self._every == 0:
            self._notes.append(_Note(at_ns, owed))
        self._heard += 1
        if len(self._notes) > _MOST_NOTES:
            del self._notes[1::2]
            self._every *= 2

    def growth(self) -> Growth | None:
        """Return what became of it; None where a run was too short to tell."""
        second, last = self._quarter(1), self._quarter(3)
        if min(len(second), len(last)) < 2:
            return None
        before = _rate(second)
        return Growth(
            second_quarter=fmean(owed.unanswered for _, owed in second),
            last_quarter=fmean(owed.unanswered for _, owed in last),
            rate=_rate(last) / before if before else 1.0,
        )

    def _quarter(self, number: int) -> list[_Note]:
        if not self._notes:
            return []
        start_ns, end_ns = self._notes[0].at_ns, self._notes[-1].at_ns
        from_ns = start_ns + number * (end_ns - start_ns) / 4
        to_ns = start_ns + (number + 1) * (end_ns - start_ns) / 4
        return [note for note in self._notes if from_ns <= note.at_ns <= to_ns]


def _rate(notes: list[_Note]) -> float:
    first, last = notes[0], notes[-1]
    return (last.owed.due - first.owed.due) / max(last.at_ns - first.at_ns, 1)
