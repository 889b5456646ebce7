"""Which point to measure next, and when to stop. Knows no server: it asks and is told.

A search is a generator: it yields a few `Ask`s, which may be measured at once, is sent
the `Told` of each, and returns its `Decision`. With the same seed and the same
responses it asks the same again, which is how an interrupted search goes on.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import Literal

from triton_kit.tuning.budget import Budget
from triton_kit.tuning.decision import Decision, Finalist, choose, decide
from triton_kit.tuning.evidence import Ask as Ask
from triton_kit.tuning.evidence import Evidence
from triton_kit.tuning.evidence import Told as Told
from triton_kit.tuning.space import Point, Space
from triton_kit.tuning.spending import FINALISTS, ROUNDS, Spending

Method = Literal["auto", "grid", "climb", "optuna"]
Asks = tuple[Ask, ...]
Search = Generator[Asks, Sequence[Told], Decision]
Step = Generator[Asks, Sequence[Told], None]

# Whatever they take: one measurement has no interval.
_LEAST_ROUNDS = 2
# Of the trials before the last rounds, what goes into points spread over the space.
_SPREAD = 0.15
_KEEP = 3  # one in so many is measured again, and for longer
_AGAIN_EFFORT = 2.0
_FINAL_EFFORT = 2.0
# Climbs that found nothing better, one after the other, end the search.
_FRUITLESS = 3
_PAIRS = 12
_STEP = 1.02
# Trials in one go for each that runs at once: all wait for the last one of them.
_IN_ONE_GO = 4


def search(
    space: Space,
    budget: Budget,
    *,
    method: Method = "auto",
    seed: int = 0,
    at_once: int = 1,
) -> Search:
    """Measure the default, look for better points, compare the best with it.

    Always ends: within the budget, or once no point is left that promises more. The
    point that did best in the last rounds did so by luck too: what the decision
    promises comes from further rounds of that point and the default alone. Each of
    these has a server of its own: two servers differ by more than two measurements.

    Args:
        space: what may be tried.
        budget: counts every measurement, those of the last rounds included.
        method: `grid` measures every point; `climb` goes up from the default step by
            step; `auto` measures all of a small space, and climbs from the best of
            points that are spread over a larger one; `optuna` asks Optuna's sampler.
        seed: of the points that are drawn.
        at_once: how many trials run at the same time. Those of the last rounds run
            alone, one after the other.
    """
    state = _Searching(space, budget, seed, at_once)
    yield from state.measure([space.default], "default", 1.0)
    yield from state.climb_load()
    if method == "grid" or (method == "auto" and state.fits_all()):
        yield from state.spread(space.points())
    elif method == "optuna":
        yield from state.suggested(seed)
    else:
        if method == "auto":
            count = int(_SPREAD * state.left())
            yield from state.spread(space.sample(count, state.rng))
        yield from state.climbs()
    return (yield from state.finals())


class _Searching:
    """What one search knows and has spent."""

    def __init__(self, space: Space, budget: Budget, seed: int, at_once: int) -> None:
        self.space = space
        self.rng = random.Random(seed)
        self.spending = Spending(budget, at_once)
        self._at_once = at_once
        self._known: dict[Point, Evidence] = {}

    def left(self) -> int:
        """How many trials are left, beside those of the last rounds."""
        return self.spending.left

    def fits_all(self) -> bool:
        """Whether every point can be measured, and the best ones again."""
        most = int(max(0, self.left()) / (1 + 1 / _KEEP))
        return len([*islice(self.space.points(), most + 1)]) <= most

    def measure(self, points: Sequence[Point], stage: str, effort: float) -> Step:
        """Measure points, in one go."""
        asks = tuple(Ask(point=p, stage=stage, effort=effort) for p in points)
        told = yield asks
        self.spending.add([each.cost_s for each in told])
        for point, each in zip(points, told, strict=True):
            self._known.setdefault(point, Evidence()).add(effort, each)

    @property
    def _in_one_go(self) -> int:
        return 1 if self._at_once == 1 else _IN_ONE_GO * self._at_once

    def _measure_all(
        self, points: Sequence[Point], stage: str, effort: float
    ) -> Generator[Asks, Sequence[Told], bool]:
        """Measure points; return whether the budget allowed all of them."""
        waiting = list(points)
        while waiting:
            count = min(self.left(), self._in_one_go)
            if count <= 0:
                return False
            yield from self.measure(waiting[:count], stage, effort)
            waiting = waiting[count:]
        return True

    def spread(self, points: Iterable[Point]) -> Step:
        """Measure points shortly, and the best of them again, by halves."""
        measured: list[Point] = []
        group: list[Point] = []
        for point in points:
            is_over = self.left() <= len(group)
            if group and (is_over or len(group) == self._in_one_go):
                yield from self.measure(group, "sample", 1.0)
                group = []
                is_over = self.left() <= 0
            if is_over:
                return
            if not self.space.is_legal(point):
                continue
            measured.append(point)
            if point not in self._known:
                group.append(point)
        if group:
            yield from self.measure(group, "sample", 1.0)
        yield from self._halve(measured)

    def suggested(self, seed: int) -> Step:
        """Measure what Optuna suggests, and the best of it again, by halves."""
        from triton_kit.tuning.suggestions import Suggestions

        suggestions = Suggestions(self.space, seed)
        for point, evidence in self._known.items():
            suggestions.learn(point, evidence)
        measured: list[Point] = []
        # What is left afterwards goes into the best ones.
        while self.left() > len(measured) / _KEEP:
            new = suggestions.new(self._known, min(self._at_once, self.left()))
            if not new:
                break
            yield from self.measure(new, "sample", 1.0)
            for point in new:
                suggestions.learn(point, self._known[point])
            measured += new
        yield from self._halve(measured)

    def _halve(self, measured: list[Point]) -> Step:
        kept, effort = measured, _AGAIN_EFFORT
        while len(kept) > FINALISTS:
            count = max(FINALISTS, len(kept) // _KEEP)
            kept = sorted(kept, key=self._rank, reverse=True)[:count]
            kept = list(filter(self.space.is_legal, kept))
            if not (yield from self._measure_all(kept, "halving", effort)):
                return
            effort *= 2

    def climb_load(self) -> Step:
        """Find the load at which the default does best: that is what counts."""
        loads = [i for i, field in enumerate(self.space.fields) if field.is_load]
        if loads:
            yield from self._climb(self.space.default, set(), only=loads)

    def climbs(self) -> Step:
        """Climb from the best points, until nothing better is found any more."""
        visited: set[Point] = set()
        fruitless = 0
        while self.left() > 0 and fruitless < _FRUITLESS:
            start = self._start(visited)
            if start is None:
                return
            before = max(map(self._rank, self._known))
            if start not in self._known:
                yield from self.measure([start], "climb", 1.0)
            if self.space.is_legal(start):  # it may have been refused
                yield from self._climb(start, visited)
            visited.add(start)
            is_better = max(map(self._rank, self._known)) > before
            fruitless = 0 if is_better else fruitless + 1

    def _start(self, visited: set[Point]) -> Point | None:
        """Return the best point that no climb has come by; else a new one."""
        start = self.space.start()
        if start is not None and start not in self._known:
            return start
        inside = [
            point
            for point in self._known
            if point not in visited
            and not self._known[point].has_failed
            and self.space.neighbours(point)
            and self._known[point].effort > 1
        ]
        if inside:
            return max(inside, key=self._rank)
        drawn = self.space.sample(1, self.rng)
        return next((p for p in drawn if p not in visited), None)

    def _climb(
        self, start: Point, visited: set[Point], only: list[int] | None = None
    ) -> Step:
        """Go from a point to a better neighbour, until there is none."""
        best, before = start, start
        while True:
            visited.add(best)
            steps = self._steps(best, visited, only)
            steps.sort(key=lambda step: not self.space.goes_on(before, best, step))
            while steps:
                point = steps.pop(0)
                if self.left() <= 0:
                    return
                if not self.space.is_legal(point):  # since the steps were found
                    continue
                if point not in self._known:
                    next_ones = self._unknown([point, *steps])
                    yield from self.measure(next_ones, "climb", 1.0)
                    next_ones.sort(key=self._rank, reverse=True)
                    point, *others = next_ones
                    steps = [*others, *(s for s in steps if s not in next_ones)]
                is_legal = self.space.is_legal(point)  # it may have been refused
                if not is_legal or not self._promises_more(point, best):
                    continue
                yield from self._measure_again(point, best)
                if self._promises_more(point, best):
                    best, before = point, best
                    break
            else:
                return

    def _unknown(self, steps: Sequence[Point]) -> list[Point]:
        """Return the next steps to measure: as many as run at once."""
        wanted = (
            point
            for point in steps
            if point not in self._known and self.space.is_legal(point)
        )
        return list(islice(wanted, min(self._at_once, self.left())))

    def _measure_again(self, *points: Point) -> Step:
        """Measure for longer: what is the best of many is likely a lucky one."""
        short = [p for p in points if self._known[p].effort < 1 + _AGAIN_EFFORT]
        yield from self._measure_all(short, "climb", _AGAIN_EFFORT)

    def _steps(
        self, point: Point, visited: set[Point], only: list[int] | None
    ) -> list[Point]:
        found = [
            other
            for other in self.space.neighbours(point)
            if other not in visited
            and (only is None or any(point[i] != other[i] for i in only))
        ]
        self.rng.shuffle(found)
        if only is not None:
            return found
        # Two fields may have to change together: fewer in a batch, more instances.
        singles = self.space.neighbours(point)
        pairs = {
            pair
            for single in singles
            for pair in self.space.neighbours(single)
            if pair != point and pair not in singles and pair not in visited
        }
        drawn = self.rng.sample(sorted(pairs, key=repr), min(_PAIRS, len(pairs)))
        return found + drawn

    def _rank(self, point: Point) -> tuple[bool, float, float]:
        return self._known[point].cautious_rank

    def _promises_more(self, point: Point, best: Point) -> bool:
        """Whether a point is better by more than a little: plateaus are wide."""
        (*first, value), (*second, best_value) = self._rank(point), self._rank(best)
        return first > second or (first == second and value > best_value * _STEP)

    def finals(self) -> Search:
        """Measure the best points and the default again; confirm the gain of one."""
        points = self._finalists()
        kept = self.spending.confirming_round
        evidence = yield from self._in_turn(points, "final", kept=kept)
        finalists = [
            Finalist(point=point, evidence=evidence[point], is_default=is_default)
            for point, is_default in points.items()
        ]
        choice = choose(finalists)
        if not choice.needs_confirmation:
            return decide(choice)
        pair = (choice.baseline.point, choice.leader.point)
        evidence = yield from self._in_turn(pair, "confirm")
        before, after = (Finalist(point=p, evidence=evidence[p]) for p in pair)
        return decide(choice, (before, after))

    def _in_turn(
        self, points: Iterable[Point], stage: str, *, kept: int = 0
    ) -> Generator[Asks, Sequence[Told], dict[Point, Evidence]]:
        """Measure points in turn, each alone, for as many rounds as there is room.

        Args:
            points: what to measure.
            stage: of the asks.
            kept: how many trials to keep for later, for each round.
        """
        order = list(points)
        evidence = {point: Evidence() for point in order}
        costs_s: list[float] = []
        for number in range(ROUNDS):
            wanted = len(order) + kept * (number + 1)
            is_over = self.spending.left_of(costs_s) < wanted
            if is_over and number >= _LEAST_ROUNDS:
                break
            for index, point in enumerate(order):
                ask = Ask(
                    point=point,
                    stage=stage,
                    effort=_FINAL_EFFORT,
                    afresh=stage == "confirm" and index == 0,
                )
                [told] = yield (ask,)
                costs_s.append(told.cost_s)
                self.spending.add([told.cost_s])
                evidence[point].add(_FINAL_EFFORT, told)
            order = [*order[1:], order[0]]
        return evidence

    def _finalists(self) -> dict[Point, bool]:
        """Return the points of the last rounds, and whether each is the default."""
        ranked = sorted(self._known, key=self._rank, reverse=True)
        default = self.space.default
        defaults = [p for p in ranked if self._with_load(default, p) == p]
        leader = ranked[0]
        found = {defaults[0]: True}
        at_same_load = self._with_load(default, leader)
        if self.space.is_legal(at_same_load):
            found[at_same_load] = True
        for point in ranked:
            same = self._with_load(point, leader)
            if sum(not is_default for is_default in found.values()) == FINALISTS:
                break
            # What has never worked would only fail again, a new server each time.
            has_worked = any(told.value > 0 for _, told in self._known[point].told)
            is_new = self.space.is_legal(same) and same not in found
            if is_new and has_worked:
                found[same] = False
        return found

    def _with_load(self, point: Point, load: Point) -> Point:
        """Return a point's settings of the model with the load of another."""
        return tuple(
            theirs if field.is_load else own
            for field, own, theirs in zip(self.space.fields, point, load, strict=True)
        )
