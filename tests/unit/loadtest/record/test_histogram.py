import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.loadtest.record.histogram import RELATIVE_ERROR, Histogram

values = st.lists(st.integers(1, 10**12), min_size=1, max_size=200)


def histogram_of(numbers):
    histogram = Histogram()
    histogram.add(np.array(numbers, np.int64))
    return histogram


@given(numbers=values, fraction=st.floats(0.001, 1.0))
def test_a_quantile_is_off_by_no_more_than_the_stated_error(numbers, fraction):
    exact = sorted(numbers)[max(math.ceil(fraction * len(numbers) - 1e-9), 1) - 1]

    found = histogram_of(numbers).quantile_ns(fraction)

    assert found == pytest.approx(exact, rel=RELATIVE_ERROR)


@given(first=values, second=values)
def test_merging_equals_counting_everything_at_once(first, second):
    whole = histogram_of(first + second)

    merged = Histogram.merged([histogram_of(second), histogram_of(first)])

    assert (merged.counts == whole.counts).all()
    assert (merged.count, merged.sum_ns) == (whole.count, whole.sum_ns)
    assert (merged.min_ns, merged.max_ns) == (whole.min_ns, whole.max_ns)


@given(numbers=values)
def test_mean_and_extremes_are_exact(numbers):
    histogram = histogram_of(numbers)

    assert histogram.mean_ns == pytest.approx(sum(numbers) / len(numbers), rel=1e-12)
    assert (histogram.min_ns, histogram.max_ns) == (min(numbers), max(numbers))


def test_the_deviation_is_that_of_the_values():
    histogram = histogram_of([1000, 2000, 3000, 4000])

    assert histogram.deviation_ns == pytest.approx(math.sqrt(1_250_000))


def test_an_empty_histogram_has_zeros():
    empty = Histogram()

    assert (empty.quantile_ns(0.99), empty.mean_ns, empty.deviation_ns) == (0, 0, 0)


def test_times_beyond_the_last_bucket_and_below_the_first_are_counted():
    histogram = histogram_of([-5, 0, 2**50])

    assert histogram.count == 3
    assert histogram.quantile_ns(0.5) == pytest.approx(1, rel=RELATIVE_ERROR)
