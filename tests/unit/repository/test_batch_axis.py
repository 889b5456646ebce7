"""Profiles take every batch that Triton may send, or are refused before a build."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.repository.generate.batch_axis import check_batch_axis


@pytest.mark.parametrize(
    ("max_batch_size", "profiles"),
    [
        (0, [{"x": (5, 5)}]),
        (8, []),
        (8, [{}]),
        (8, [{"x": (1, 8), "y": (1, 8)}]),
        (8, [{"x": (1, 1)}, {"x": (2, 16)}]),
    ],
)
def test_profiles_that_take_every_batch_pass(max_batch_size, profiles):
    assert check_batch_axis("m", max_batch_size, profiles) is None


@pytest.mark.parametrize(
    ("profiles", "words"),
    [
        ([{"x": (1, 8), "y": (1, 4)}], "different batch axes: x: 1 to 8, y: 1 to 4"),
        ([{"x": (2, 8)}], "no profile takes a batch of 1"),
        ([{"x": (1, 4)}, {"x": (1, 7)}], "no profile takes a batch beyond 7"),
    ],
)
def test_profiles_that_leave_out_a_batch_are_refused(profiles, words):
    with pytest.raises(SpecError) as caught:
        check_batch_axis("m", 8, profiles)

    assert words in caught.value.message
    assert caught.value.hint
