"""What a search has spent of its budget, and how many trials are left."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Iterable, Sequence

from triton_kit.tuning.budget import USUAL_TRIAL_S, Budget

FINALISTS = 3  # beside the default, at one load or two
_DEFAULTS = 2
# A round of the confirmation: the default and the best point.
_CONFIRM_TRIALS = 2
# A new server for each such round takes about as long as so many trials.
_NEW_SERVER = 2
ROUNDS = 6
FEWEST_ROUNDS = 3


class Spending:
    """Trials and time that were spent; the last rounds have their share put aside.

    Args:
        budget: of the search.
        at_once: how many trials run at the same time; those of the last rounds do not.

    Attributes:
        seconds: what the trials took in all, those at once side by side.
    """

    def __init__(self, budget: Budget, at_once: int = 1) -> None:
        self._budget, self._at_once = budget, at_once
        self._trials, self._costs_s, self.seconds = 0, 0.0, 0.0

    def add(self, costs_s: Sequence[float]) -> None:
        """Add trials that were handed out together; how long each of them took."""
        self._trials += len(costs_s)
        self._costs_s += sum(costs_s)
        self.seconds += time_at_once(costs_s, self._at_once)

    def plus(self, costs_s: Sequence[float]) -> Spending:
        """Return what it is with some more trials."""
        more = copy.copy(self)
        more.add(costs_s)
        return more

    @property
    def mean_s(self) -> float:
        """How long one trial takes."""
        return self._costs_s / self._trials if self._trials else USUAL_TRIAL_S

    @property
    def left_alone(self) -> int:
        """How many trials are left, if they run one after the other."""
        return self._budget.left(self._trials, self.seconds, self._costs_s)

    def left_of(self, costs_s: Sequence[float]) -> int:
        """Return how many are left, one after the other, that cost as much as these.

        Args:
            costs_s: of trials that were added; empty: they cost as much as all of them.
        """
        if self._budget.seconds is None or not costs_s:
            return self.left_alone
        return self._budget.left(len(costs_s), self.seconds, sum(costs_s))

    @property
    def left(self) -> int:
        """How many trials are left, beside those of the last rounds."""
        left = self.left_alone - self.last
        return left if self._budget.seconds is None else left * self._at_once

    @property
    def confirming_round(self) -> int:
        """How many trials a round of the confirmation takes, or takes as long as."""
        return _CONFIRM_TRIALS + self._new_server

    @property
    def _new_server(self) -> int:
        return 0 if self._budget.seconds is None else _NEW_SERVER

    @property
    def last(self) -> int:
        """How many trials the last rounds take, or take as long as."""
        alone = self._trials
        if self._budget.seconds is not None and self._trials:
            alone = round(self.seconds / max(self.mean_s, 1e-3))
        one = FINALISTS + _DEFAULTS + self._new_server
        rounds = (alone + self.left_alone) // 3 // one
        return max(FEWEST_ROUNDS, min(ROUNDS, rounds)) * one

    @property
    def ahead(self) -> tuple[int, float]:
        """How many trials are left in all, and how many seconds they take, about."""
        last = max(0, min(self.last, self.left_alone))
        others = max(0, self.left_alone - last)
        if self._budget.seconds is not None:
            others *= self._at_once
        return others + last, (others / self._at_once + last) * self.mean_s


def time_at_once(costs_s: Iterable[float], count: int) -> float:
    """Return how long trials take in all, `count` of them at a time."""
    free = [0.0] * count
    for cost_s in costs_s:
        heapq.heapreplace(free, free[0] + cost_s)
    return max(free)
