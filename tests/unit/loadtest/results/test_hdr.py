import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from triton_kit.loadtest.record.histogram import LONGEST_NS, RELATIVE_ERROR, Histogram
from triton_kit.loadtest.results.hdr import encoded

# Half a bucket of ours, and one of three significant digits.
BOUND = RELATIVE_ERROR + 1e-3

latencies = st.lists(st.integers(1, LONGEST_NS), min_size=1, max_size=200)


def histogram_of(values):
    histogram = Histogram()
    histogram.add(np.array(values, np.int64))
    return histogram


def rank_of(percent, count):
    """Which of the values in their order the library means by a percentile."""
    return max(int(percent / 100 * count + 0.5), 1)


@given(latencies)
def test_another_reader_finds_the_same_quantiles(values):
    histogram = histogram_of(values)

    read = HdrHistogram.decode(encoded(histogram))

    assert read.get_total_count() == len(values)
    for percent in (1, 25, 50, 90, 99, 99.9):
        rank = rank_of(percent, len(values))
        theirs = read.get_value_at_percentile(percent)
        ours = histogram.quantile_ns(rank / len(values))
        assert theirs == pytest.approx(ours, rel=BOUND, abs=1)
        assert theirs == pytest.approx(sorted(values)[rank - 1], rel=BOUND, abs=1)


@given(latencies)
def test_the_extremes_are_exact_to_three_digits(values):
    read = HdrHistogram.decode(encoded(histogram_of(values)))

    assert read.get_min_value() == pytest.approx(min(values), rel=1e-3)
    assert read.get_max_value() == pytest.approx(max(values), rel=1e-3)


# The library's iterator visits every bucket: a quarter of a second for each example.
@settings(max_examples=20)
@given(latencies)
def test_every_count_is_where_the_library_itself_puts_it(values):
    histogram = histogram_of(values)
    theirs = HdrHistogram(1, LONGEST_NS, 3)
    placed, numbers = histogram.values_ns()
    if histogram.count > 1:
        numbers[[0, -1]] -= [1, 1] if len(numbers) > 1 else [2, 2]
        theirs.record_value(histogram.min_ns)
        theirs.record_value(histogram.max_ns)
    for value, number in zip(placed.tolist(), numbers.tolist(), strict=True):
        if number:
            theirs.record_value(value, number)

    read = HdrHistogram.decode(encoded(histogram))

    assert read.get_total_count() == theirs.get_total_count()
    for item in theirs.get_recorded_iterator():
        assert (
            read.get_count_at_value(item.value_iterated_to)
            == item.count_at_value_iterated_to
        )


def test_merged_logs_are_the_log_of_the_merge():
    generator = np.random.default_rng(0)
    parts = [generator.integers(1, 10**9, 5000) for _ in range(2)]
    whole = HdrHistogram(1, LONGEST_NS, 3)

    for part in parts:
        whole.decode_and_add(encoded(histogram_of(part)))

    both = histogram_of(np.concatenate(parts))
    assert whole.get_total_count() == 10_000
    for percent in (50, 99, 99.9):
        theirs = whole.get_value_at_percentile(percent)
        assert theirs == pytest.approx(both.quantile_ns(percent / 100), rel=BOUND)


def test_many_equal_values_are_counted():
    histogram = histogram_of([5000])
    for _ in range(30):
        histogram.merge(histogram)

    read = HdrHistogram.decode(encoded(histogram))

    assert read.get_total_count() == 2**30


def test_an_empty_histogram_is_one_too():
    assert HdrHistogram.decode(encoded(Histogram())).get_total_count() == 0
