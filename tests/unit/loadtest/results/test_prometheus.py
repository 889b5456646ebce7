"""Results as Prometheus text, and as perf_analyzer's files."""

import csv
import json
import re

import pytest

from triton_kit.loadtest.loops.load import (
    ClosedLoad,
    PeriodicLoad,
    RateLoad,
    ScheduleLoad,
    StagedLoad,
    rate_range,
)
from triton_kit.loadtest.loops.stages import parse_stages
from triton_kit.loadtest.record.cpu import CpuUse
from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.results.export import as_csv, as_profile, as_prometheus
from triton_kit.loadtest.results.figures import Figures
from triton_kit.loadtest.results.result import PerfResult
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.verdict import Verdict

LOADS = rate_range("100000:100001:0.5")


def run_of(load):
    recorder = Recorder()
    recorder.times += (0, 0, 1, 123_456_789) * 3
    return Run(
        figures=Figures(
            name=str(load),
            which={"load": load.as_json()},
            window_s=1.0,
            succeeded=1_234_567,
            recording=recorder.take(),
            inferences_per_request=1,
        ),
        send_rate=None if load.concurrency else 74.5,
        total=1_234_567,
        windows=(),
        server=(),
        metrics=(),
        boundaries_ns=(),
        cpu=CpuUse(1.0, 1.0, 1.0, None),
        verdict=Verdict(),
    )


@pytest.fixture(scope="module")
def samples():
    runs = tuple(run_of(load) for load in LOADS)
    model = {"name": "m"}
    result = PerfResult(
        runs=runs, spec={}, server={}, model=model, models=[model], environment={}
    )
    lines = as_prometheus(result).splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def sample(samples, name):
    [value] = {
        float(value)
        for series, value in samples.items()
        if re.match(rf"triton_kit_perf_{name}{{", series)
    }
    return value


def test_numbers_have_all_their_digits(samples):
    assert sample(samples, "throughput") == 1_234_567
    assert sample(samples, "latency_seconds_sum") == 3 * 0.123_456_789


def test_every_load_has_series_of_its_own(samples):
    loads = {re.search('load="([^"]*)"', series)[1] for series in samples}

    assert loads == {f"{rate}/s constant" for rate in ("100000", "100000.5", "100001")}


@pytest.mark.parametrize(
    ("load", "level"),
    [
        (ClosedLoad(4), "Concurrency 4"),
        (PeriodicLoad(start=1, end=3), "Concurrency 3"),
        (RateLoad(rate_hz=50), "Request Rate 50"),
        (StagedLoad(stages=parse_stages("50/s:1s,99/s:1s")), "Request Rate 74.5"),
        (ScheduleLoad(times_ns=(0, 10**7), is_repeated=False, name="t"), "Rate 100"),
    ],
    ids=str,
)
def test_every_load_has_a_level_in_perf_analyzers_files(load, level):
    model = {"name": "m", "decoupled": False}
    result = PerfResult(
        runs=(run_of(load),),
        spec={"stability": None, "transport": {"endpoint": "infer"}, "url": "h:1"},
        server={},
        model=model,
        models=[model],
        environment={"triton_kit": "1"},
    )
    [row] = csv.DictReader(as_csv(result).splitlines())
    [experiment] = json.loads(as_profile(result))["experiments"]

    name, value = next(iter(row.items()))
    assert f"{name} {value}".endswith(level)
    assert experiment["experiment"]["value"] == float(value)
