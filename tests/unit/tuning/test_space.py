"""The space: legal points only, and errors that say what is wrong."""

import random

import pytest

from triton_kit.errors import SpecError
from triton_kit.tuning.budget import Budget, parse_budget
from triton_kit.tuning.space import Space, SpaceField

A = SpaceField(name="a", values=(1, 2, 4), default=1)
B = SpaceField(name="b", values=("x", "y"), default="x")


def test_points_are_the_legal_combinations():
    space = Space(
        fields=(A, B), why_illegal=lambda s: "4 is x only" * (s == {"a": 4, "b": "y"})
    )

    assert space.size == 6
    assert list(space.points()) == [(1, "x"), (1, "y"), (2, "x"), (2, "y"), (4, "x")]
    assert space.neighbours((4, "x")) == [(2, "x")]


def test_a_space_with_nothing_legal_is_refused_with_the_reason():
    space = Space(fields=(A,), why_illegal=lambda _: "the model takes no batches")

    with pytest.raises(SpecError, match=r"nothing legal.*the model takes no batches"):
        space.require_legal()


def test_a_default_outside_of_the_values_starts_at_the_nearest():
    field = SpaceField(name="a", values=(8, 16, 64), default=20)

    assert Space(fields=(field,)).start() == (16,)


def test_a_sample_has_each_value_equally_often():
    points = Space(fields=(A, B)).sample(6, random.Random(0))

    assert len(points) >= 5
    assert {point[0] for point in points} == {1, 2, 4}


@pytest.mark.parametrize(
    ("values", "text"), [((), "has no values"), ((1, 1), "has a value twice")]
)
def test_a_field_without_distinct_values_is_refused(values, text):
    with pytest.raises(SpecError, match=text):
        SpaceField(name="a", values=values, default=1)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("10m", Budget(seconds=600)),
        ("90s", Budget(seconds=90)),
        ("trials=60", Budget(trials=60)),
    ],
)
def test_a_budget_is_time_or_trials(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "10", "trials=x", "trials=3", "2s", "1d"])
def test_a_budget_that_makes_no_sense_is_refused(text):
    with pytest.raises(SpecError):
        parse_budget(text)
