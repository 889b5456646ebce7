"""The table at every width of a terminal: no number is cut."""

import re
from dataclasses import replace

import numpy as np
import pytest

from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad
from triton_kit.loadtest.record.cpu import CpuUse
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.record.stability import Window
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.results import slo, table
from triton_kit.loadtest.results.figures import Figures
from triton_kit.loadtest.results.generation import GenerationFigures
from triton_kit.loadtest.results.remarks import _tokens, histogram_lines, remarks
from triton_kit.loadtest.results.result import PerfResult
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.units import duration, rate
from triton_kit.loadtest.results.verdict import Finding, Verdict

MS = 1_000_000


def run_of(load, *, latency_ms=2.5, count=1000, failed=0, metrics=(), cpu=None):
    recorder = Recorder()
    for index in range(count):
        last_ns = round(latency_ms * MS * (1 + index / count))
        recorder.times += (0, 10_000, last_ns, last_ns)
    for _ in range(failed):
        recorder.fail(Failure("HTTP 400", "wrong shape"))
    recording = recorder.take()
    figures = Figures(
        name=str(load),
        which={"load": load.as_json()},
        window_s=5.0,
        succeeded=count,
        recording=recording,
        inferences_per_request=1,
    )
    findings = (Finding("failing", "many failed"),) if failed else ()
    return Run(
        figures=figures,
        send_rate=None,
        total=count,
        windows=(Window(length_s=5.0, recording=recording),),
        server=(),
        metrics=metrics,
        boundaries_ns=(),
        cpu=cpu or CpuUse(5.0, 4.0, 0.5, 3.0, cores=2),
        verdict=Verdict(findings),
    )


def result_of(*runs, slo_text=""):
    objectives = slo.parse_slo(slo_text) if slo_text else ()
    return PerfResult(
        runs=runs,
        spec={"search": "every"},
        server={},
        model={"name": "m"},
        models=[{"name": "m", "decoupled": False}],
        environment={},
        objectives=tuple(slo.as_json(objectives, run) for run in runs),
    )


RESULT = result_of(
    run_of(ClosedLoad(1)),
    run_of(ClosedLoad(128), latency_ms=13_400, count=64_000),
    run_of(RateLoad(rate_hz=2500, distribution="poisson"), failed=12_345),
)
CORE = {"load", "infer/s", "p50", "p99", "errors", "verdict"}


@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (
            80,
            {"client us/req", "lag p50/p99", "server CPU", "requests", "p99.9", "mean"},
        ),
        (100, {"client us/req", "lag p50/p99", "server CPU", "requests"}),
        (120, {"client us/req", "lag p50/p99"}),
        (200, set()),
        (None, set()),
    ],
)
def test_columns_drop_in_their_documented_order(width, dropped):
    heads = {column.head for column in table.COLUMNS} - {"GPU", "GPU mJ/infer"}
    lines = table.table_lines(RESULT, width=width)

    assert set(re.split(r"  +", lines[0])) == heads - dropped
    assert all(len(line) <= (width or 999) for line in lines)


AT_80 = """\
load             infer/s      p50      p90      p95      p99  errors  verdict
concurrency 1        200  3.75 ms  4.74 ms  4.87 ms  4.97 ms       0   stable
concurrency 128   12,800   20.1 s   25.5 s   26.1 s   26.7 s       0   stable
2500/s poisson       200  3.75 ms  4.74 ms  4.87 ms  4.97 ms  12,345  failing
"""


def test_the_table_at_80_columns():
    assert table.table_lines(RESULT, width=80) == AT_80.splitlines()


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_terminal_gets_a_line_per_figure(width):
    lines = table.table_lines(RESULT, width=width)

    assert "concurrency 1" in lines
    assert "  p99      4.97 ms" in lines
    assert len(lines) == 3 * len(CORE)


def test_parts_stand_below_their_run_and_have_no_verdict():
    run = run_of(ClosedLoad(4))
    part = run.figures
    shown = table.table_lines(
        result_of(
            Run(**{f: getattr(run, f) for f in Run.__slots__} | {"levels": (part,)})
        )
    )

    assert shown[2].startswith("  concurrency 4 ")
    assert "stable" not in shown[2]


def test_gpus_have_a_column_where_their_metrics_are_collected():
    gpu = {"name": "nv_gpu_utilization", "labels": {}, "kind": "gauge"}
    level = {"mean": 0.876, "min": 0.1, "max": 1.0}
    result = result_of(run_of(ClosedLoad(1), metrics=[gpu | level]))

    head, row = table.table_lines(result, width=80)

    assert "GPU" in head
    assert "88 %" in row
    assert remarks(result)[:2] == [
        "concurrency 1: GPU: 88 % busy",
        "concurrency 1: server metrics: 1 metrics in --json",
    ]


def test_objectives_are_shown_as_met_or_missed():
    result = result_of(
        run_of(ClosedLoad(1)), slo_text="p99<20ms,mean<=1ms,errors<1%,throughput>500"
    )

    assert remarks(result) == [
        "concurrency 1 meets p99<20ms: 4.97 ms",
        "concurrency 1 misses mean<=1ms: 3.75 ms",
        "concurrency 1 meets errors<1%: 0 %",
        "concurrency 1 misses throughput>500: 200",
    ]


def test_a_hidden_server_is_reported_with_the_option():
    cpu = CpuUse(5.0, 9.0, 0.5, None, cores=2, is_server_hidden=True)

    [line] = remarks(result_of(run_of(ClosedLoad(1), cpu=cpu)))

    assert "--server-pid" in line


def test_a_histogram_shows_every_request():
    lines = histogram_lines(result_of(run_of(ClosedLoad(1))))

    assert lines[0] == "concurrency 1: latency of 1,000 requests"
    counts = [int(re.search(r"(\d+)( #+)?$", line)[1]) for line in lines[1:]]
    assert sum(counts) == 1000


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0"),
        (850, "850 ns"),
        (12_345, "12.3 us"),
        (999_900, "1.00 ms"),
        (2_560_000, "2.56 ms"),
        (13.4e9, "13.4 s"),
        (123.4e9, "123 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(ns, text):
    assert duration(ns) == text


@pytest.mark.parametrize(
    ("per_s", "text"),
    [(0, "0.00"), (48.26, "48.3"), (999.7, "1,000"), (12345, "12,345")],
)
def test_rates_are_short(per_s, text):
    assert rate(per_s) == text


@pytest.mark.parametrize(
    ("warm_up_s", "said"),
    [
        (0.5, None),
        (0.75, "warm-up of 0.75 s instead of 0.5 s, until two windows agreed"),
        (2.5, "warm-up of 2.5 s instead of 0.5 s, in which no two windows agreed: a "),
    ],
)
def test_a_longer_warm_up_is_explained(warm_up_s, said):
    result = result_of(replace(run_of(ClosedLoad(1)), warm_up_s=warm_up_s))

    lines = remarks(replace(result, spec={"search": "every", "warm_up_s": 0.5}))

    assert [said in line for line in lines if "warm-up" in line] == [True] * bool(said)


@pytest.mark.parametrize(
    ("gap_ns", "remark"),
    [(1, "most chunks arrive together"), (2_000_000, "a chunk every 2.00 ms (p50)")],
)
def test_a_stream_that_is_buffered_is_reported(gap_ns, remark):
    gaps, none = Histogram(), Histogram()
    gaps.add(np.full(10, gap_ns))
    figures = GenerationFigures(
        ttft=none,
        itl=gaps,
        icl=gaps,
        output_tokens=np.array([4]),
        input_tokens=np.array([], np.int64),
        tokens_per_s=1.0,
        tokens_per_s_of_request=np.array([1.0]),
        counted_by=["usage"],
        good_per_s=None,
        good_share=None,
        cancelled=0,
    )

    lines = [*_tokens(figures)]

    assert lines[0].startswith("4 output tokens per request (counted by usage)")
    assert remark in lines[-1]
    assert not any("ns (p50)" in line for line in lines)
