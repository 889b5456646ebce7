"""The due times of stages, from the text that the user writes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import StagedLoad
from triton_kit.loadtest.loops.stages import Stage, due_times, parse_stages

RATES = st.floats(0, 2000, allow_nan=False).map(lambda rate: round(rate, 3))
STAGES = st.lists(
    st.builds(Stage, RATES, RATES, st.floats(0.01, 3)), min_size=1, max_size=6
)


def seconds(stages, seed=None):
    return [due_ns / 1e9 for due_ns in due_times(stages, seed=seed)]


def test_stages_are_read_with_ramps_and_units():
    text = "10/s:30s, 10..100/s:1m,0/s:500ms,2.5/s:0.5h"

    assert parse_stages(text) == (
        Stage(10, 10, 30),
        Stage(10, 100, 60),
        Stage(0, 0, 0.5),
        Stage(2.5, 2.5, 1800),
    )
    assert ",".join(map(str, parse_stages(text))) == (
        "10/s:30s,10..100/s:60s,0/s:0.5s,2.5/s:1800s"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "10/s",
        "10/s:",
        "10/s:30",
        "-1/s:3s",
        "1..2..3/s:1s",
        "1/s:1s,,",
        "8:3s",
    ],
)
def test_other_text_is_refused_with_the_form(text):
    with pytest.raises(SpecError, match="not of the form RATE/s:TIME") as caught:
        parse_stages(text)

    assert "10..100/s:2m" in caught.value.hint


@pytest.mark.parametrize("text", ["0/s:5s", "0.1/s:1s"])
def test_stages_without_a_request_are_refused(text):
    with pytest.raises(SpecError, match="no request is due"):
        parse_stages(text)


@pytest.mark.parametrize("text", ["9000000/s:1s", "1/s:0s", "1/s:999h"])
def test_impossible_stages_are_refused(text):
    with pytest.raises(SpecError, match="need rates up to"):
        parse_stages(text)


def test_a_spike_is_as_long_and_as_high_as_said():
    times = seconds(parse_stages("10/s:1s,100/s:1s,10/s:1s"))

    per_second = [sum(i <= time < i + 1 for time in times) for i in range(3)]
    assert per_second == [10, 100, 10]


def test_a_ramp_comes_due_as_its_rate_grows():
    times = seconds(parse_stages("0..100/s:10s"))

    assert len(times) == 500
    assert [sum(i <= time < i + 1 for time in times) for i in range(10)] == [
        pytest.approx(5 + 10 * i, abs=1) for i in range(10)
    ]


@given(STAGES)
def test_times_ascend_within_the_stages_and_are_as_many_as_the_rates_say(stages):
    times = seconds(stages)

    assert all(early <= late for early, late in itertools.pairwise(times))
    assert all(0 <= time <= sum(s.length_s for s in stages) + 1e-6 for time in times)
    assert len(times) == pytest.approx(sum(s.requests for s in stages), abs=1.01)


def test_poisson_arrivals_repeat_with_their_seed_and_keep_the_rates():
    stages = parse_stages("500/s:4s,2000/s:4s")

    times = seconds(stages, seed=3)

    assert times == seconds(stages, seed=3) != seconds(stages, seed=4)
    assert sum(time < 4 for time in times) == pytest.approx(2000, abs=200)
    assert sum(time >= 4 for time in times) == pytest.approx(8000, abs=400)


def test_the_result_has_the_seed_of_poisson_arrivals():
    stages = parse_stages("5/s:4s")

    def shown(distribution):
        return StagedLoad(stages=stages, distribution=distribution, seed=3).as_json()

    assert shown("poisson")["seed"] == 3
    assert "seed" not in shown("constant")
