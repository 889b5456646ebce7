"""Optuna as the source of points: it suggests what to try from what is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from triton_kit.errors import MissingExtraError
from triton_kit.tuning.evidence import Evidence
from triton_kit.tuning.space import Point, Space

# Points that are illegal, or known, one after the other: nothing new is left.
_FRUITLESS = 60
# What a missed bound costs, as a factor of its logarithm.
_PENALTY = 10.0


def require_optuna() -> None:
    """Raise MissingExtraError where optuna is not installed."""
    if find_spec("optuna") is None:
        raise MissingExtraError("optuna, for --search optuna,", extra="tune")


class Suggestions:
    """Points that Optuna's TPE sampler suggests; the same seed, the same points.

    A field is the number of its value: neighbours behave alike.
    """

    def __init__(self, space: Space, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._distributions = {
            field.name: optuna.distributions.IntDistribution(0, len(field.values) - 1)
            for field in space.fields
        }
        self._failed = optuna.trial.TrialState.FAIL
        self._make = optuna.trial.create_trial
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def new(self, known: Mapping[Point, Evidence], count: int) -> list[Point]:
        """Return legal points that are not known: `count`, or what is found of them."""
        found: list[Point] = []
        while len(found) < count and (one := self._next(known, found)) is not None:
            found.append(one)
        return found

    def _next(
        self, known: Mapping[Point, Evidence], pending: Sequence[Point]
    ) -> Point | None:
        for _ in range(_FRUITLESS):
            trial = self._study.ask({**self._distributions})
            point = tuple(
                field.values[trial.params[field.name]] for field in self._space.fields
            )
            if point in pending or not self._space.is_legal(point):
                self._study.tell(trial, state=self._failed)
            elif point in known:
                self._study.tell(trial, _score(known[point]))
            else:
                # Told by `learn`, once it is measured.
                self._study.tell(trial, state=self._failed)
                return point
        return None

    def learn(self, point: Point, evidence: Evidence) -> None:
        """Take in what was measured; a point outside of the values says nothing."""
        pairs = list(zip(self._space.fields, point, strict=True))
        if any(value not in field.values for field, value in pairs):
            return
        params = {field.name: field.values.index(value) for field, value in pairs}
        self._study.add_trial(
            self._make(
                params=params,
                distributions={**self._distributions},
                value=_score(evidence),
            )
        )


def _score(evidence: Evidence) -> float:
    """Return one number that orders points as their ranks do, nearly."""
    works, missed, value = evidence.cautious_rank
    if not works or value <= 0:
        return -1e3
    return math.log(value) + _PENALTY * missed
