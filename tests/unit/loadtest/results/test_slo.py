from functools import partial

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad, StagedLoad, rate_range
from triton_kit.loadtest.loops.stages import parse_stages
from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.record.stability import Window
from triton_kit.loadtest.results.slo import parse_slo
from triton_kit.loadtest.run import sweep
from triton_kit.loadtest.run.summary import Measurement, summarize
from triton_kit.loadtest.spec import PerfSpec


@pytest.mark.parametrize(
    ("text", "what", "share", "bound"),
    [
        ("p99<20ms", "latency", 0.99, 20_000),
        ("p99.9 < 1.5s", "latency", 0.999, 1_500_000),
        ("mean<80us", "latency", None, 80),
        ("errors<0.1%", "errors", None, 0.001),
        ("errors<0.5", "errors", None, 0.5),
        ("throughput>500", "throughput", None, 500),
    ],
)
def test_an_objective_is_read(text, what, share, bound):
    [objective] = parse_slo(text)

    assert objective.what == what
    assert objective.share == (share if share is None else pytest.approx(share))
    assert objective.bound == pytest.approx(bound)


def test_objectives_are_separated_by_commas():
    assert [o.text for o in parse_slo("p99<20ms, errors<1%")] == [
        "p99<20ms",
        "errors<1%",
    ]


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p99>20ms", "p99<20", "p0<1ms", "p101<1ms", "throughput<5", "x<1ms"],
)
def test_malformed_objectives_are_refused(text):
    with pytest.raises(SpecError):
        parse_slo(text)


def run_of(load):
    """Return a run in which every request takes as many us as there are in flight."""
    recorder = Recorder()
    recorder.times += (0, 0, 1, 1000 * load.concurrency) * 10
    window = Window(length_s=1.0, recording=recorder.take())
    spec = PerfSpec(url="h", model="m")
    return summarize(spec, load, Measurement(windows=[window]))


def met_up_to(limit):
    return parse_slo(f"p99<{limit + 0.5}us")


def walk(plan):
    measured = []
    load = next(plan, None)
    while load is not None:
        measured.append(load.concurrency)
        try:
            load = plan.send(run_of(load))
        except StopIteration:
            load = None
    return measured


LOADS = [ClosedLoad(number) for number in range(1, 101)]


@pytest.mark.parametrize("limit", [0, 1, 37, 99, 100])
def test_a_binary_search_finds_the_highest_load_in_few_runs(limit):
    measured = walk(sweep.binary(LOADS, met_up_to(limit)))

    assert len(measured) <= 7
    assert max([m for m in measured if m <= limit], default=0) == limit


def test_a_sweep_may_stop_at_the_first_miss():
    assert walk(sweep.until_missed(LOADS, met_up_to(3))) == [1, 2, 3, 4]


def test_without_a_search_every_load_is_measured():
    assert len(walk(sweep.every(LOADS, met_up_to(3)))) == 100


def test_a_rate_range_includes_its_end():
    rates = [load.rate_hz for load in rate_range("100:300:100")]

    assert rates == [100, 200, 300]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 2e6])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(SpecError, match="request rate"):
        RateLoad(rate_hz=rate)


@pytest.mark.parametrize(
    "load",
    [
        partial(RateLoad, rate_hz=1),
        partial(StagedLoad, stages=parse_stages("1/s:1s")),
    ],
)
def test_an_unknown_distribution_is_refused_with_the_nearest(load):
    with pytest.raises(SpecError) as caught:
        load(distribution="poison")

    assert caught.value.hint == "did you mean 'poisson'?"
