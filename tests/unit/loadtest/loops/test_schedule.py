import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops import schedule


def first(times, count):
    return list(itertools.islice(times, count))


@given(rate=st.floats(0.01, 1e6), count=st.integers(1, 300))
def test_constant_times_do_not_drift(rate, count):
    times = first(schedule.constant(rate), count)

    assert times[0] == 0
    assert times[-1] == pytest.approx((count - 1) * 1e9 / rate, abs=1)


@given(rate=st.floats(0.1, 1e5), seed=st.integers(0, 99))
def test_poisson_times_ascend_and_repeat(rate, seed):
    times = first(schedule.poisson(rate, seed=seed), 5000)

    assert times == sorted(times)
    assert times == first(schedule.poisson(rate, seed=seed), 5000)


def test_poisson_gaps_are_exponential():
    times = np.array(first(schedule.poisson(1000, seed=0), 100_000))
    gaps = np.diff(times)

    assert gaps.mean() == pytest.approx(1e6, rel=0.02)
    assert gaps.std() == pytest.approx(1e6, rel=0.02)


def test_seed_zero_is_a_seed_like_any_other():
    assert first(schedule.poisson(9, seed=0), 9) != first(
        schedule.poisson(9, seed=1), 9
    )


def test_intervals_are_repeated(tmp_path):
    path = tmp_path / "gaps.txt"
    path.write_text("100\n200\n")

    gaps = schedule.read_intervals(path)

    assert first(schedule.repeated(gaps), 5) == [0, 100_000, 300_000, 400_000, 600_000]


def test_a_trace_holds_times_in_milliseconds(tmp_path):
    path = tmp_path / "times.txt"
    path.write_text("0\n1.5\n1.5\n20\n")

    assert schedule.read_times(path) == (0, 1_500_000, 1_500_000, 20_000_000)


@pytest.mark.parametrize("text", ["", "0\n0\n", "-1\n", "a\n", "nan\n", "inf\n"])
def test_malformed_intervals_are_refused(tmp_path, text):
    path = tmp_path / "gaps.txt"
    path.write_text(text)

    with pytest.raises(SpecError, match="gaps"):
        schedule.read_intervals(path)


@pytest.mark.parametrize("text", ["", "5\n4\n", "-1\n", "x", "\x00\xff"])
def test_malformed_request_times_are_refused(tmp_path, text):
    path = tmp_path / "times.txt"
    path.write_text(text)

    with pytest.raises(SpecError, match="times"):
        schedule.read_times(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecError, match="No such file"):
        schedule.read_times(tmp_path / "absent")
