"""Intervals of changes hold as often as they say."""

import math

import numpy as np
import pytest

from triton_kit.comparison.ranks import shift_interval
from triton_kit.comparison.statistics import (
    Sample,
    change_interval,
    share_interval,
    t_quantile,
)


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),  # from tables of the distribution
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.995, 8, 3.3554),
        (0.95, 30, 1.6973),
        (0.975, 1000, 1.9623),
    ],
)
def test_quantiles_of_the_t_distribution(share, freedom, expected):
    assert t_quantile(share, freedom) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("count", [3, 5, 8, 10, 25])
def test_an_interval_of_repeats_covers_the_true_change(count):
    rng = np.random.default_rng(count)
    covered = 0
    for _ in range(300):
        first, second = np.exp(rng.normal(0, 0.04, (2, count))).tolist()
        interval = change_interval(
            Sample.of_repeats(first),
            Sample.of_repeats([1.1 * value for value in second]),
            confidence=0.95,
            resolution=0,
        )
        covered += interval.low <= 0.1 <= interval.high

    assert 278 <= covered <= 299


def test_one_disturbed_run_of_eight_hides_no_change():
    first = [100.0, 101, 99, 102, 98, 100.5, 99.5, 30]
    second = [value * 1.1 for value in (100.2, 101, 99.1, 102, 98, 100.5, 99.5, 100)]

    interval = change_interval(
        *map(Sample.of_repeats, (first, second)), confidence=0.95, resolution=0
    )

    assert 0.05 < interval.low < 0.1 < interval.high < 0.15


def test_so_few_values_are_not_surer_than_their_ranks():
    assert shift_interval([1, 2, 3], [4, 5, 6], confidence=0.95) is None
    assert shift_interval([1, 2, 3], [4, 5, 6], confidence=0.9) == (1, 5)


def test_values_that_never_vary_keep_the_resolution_of_the_histogram():
    same = Sample.of_repeats([2.0, 2.0, 2.0])

    interval = change_interval(same, same, confidence=0.95, resolution=0.002)

    assert interval.high == pytest.approx(math.expm1(0.004))
    assert not interval.excludes_zero


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 1.0]])
def test_without_noise_that_is_known_there_is_no_interval(values):
    known = Sample.of_repeats([1.0, 2.0])
    unknown = Sample(point=1.0, values=tuple(values))

    for pair in ((known, unknown), (unknown, known)):
        assert change_interval(*pair, confidence=0.95, resolution=0) is None


def test_an_interval_of_shares_covers_their_difference():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        counts = rng.binomial(500, [0.01, 0.03]).tolist()
        interval = share_interval((counts[0], 500), (counts[1], 500), confidence=0.95)
        covered += interval.low <= 0.02 <= interval.high

    assert 930 <= covered <= 985


def test_no_errors_on_both_sides_are_no_difference():
    interval = share_interval((0, 1000), (0, 1000), confidence=0.99)

    assert not interval.excludes_zero
    assert share_interval((0, 0), (0, 10), confidence=0.9) is None
