"""What was recorded of one load becomes its result, without a server or a clock."""

import pytest

from triton_kit.loadtest.loops.load import ClosedLoad, PeriodicLoad
from triton_kit.loadtest.loops.mix import ModelShare
from triton_kit.loadtest.record.recorder import Recorder, Snapshot
from triton_kit.loadtest.record.stability import StopRule, Window
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run.summary import Measurement, summarize
from triton_kit.loadtest.spec import PerfSpec


def recording(*latencies_ns, failed=0):
    recorder = Recorder()
    for latency_ns in latencies_ns:
        recorder.times += (0, 0, 1, latency_ns)
    for _ in range(failed):
        recorder.fail(Failure("HTTP 400", "no such input"))
    return recorder.take()


def window(*latencies_ns, parts=None, failed=0):
    whole = recording(*latencies_ns, failed=failed)
    return Window(length_s=1.0, recording=whole, parts=parts or {})


def spec(**changes):
    return PerfSpec(**({"url": "h", "model": "m", "batch_size": 4} | changes))


def test_responses_after_the_last_window_have_a_latency_and_no_throughput():
    measured = Measurement(
        windows=[window(100, 100)], tail=Snapshot(recording(900)), send_rate=3.0
    )

    run = summarize(spec(), ClosedLoad(2), measured)

    assert run.throughput == 2 * 4
    assert run.recording.total == run.total == 3
    assert run.recording.latency.max_ns == 900
    assert run.send_rate == 3.0


def test_windows_that_a_rule_leaves_out_count_in_the_total_only():
    rule = StopRule(kind="windows", window_s=1)
    windows = [window(*[100] * count) for count in (1, 5, 5, 5)]

    run = summarize(spec(stability=rule), ClosedLoad(1), Measurement(windows=windows))

    assert run.recording.total == 15
    assert run.total == 16
    assert run.window_s == 3


def test_a_load_with_an_end_is_stable_and_all_its_windows_count():
    rule = StopRule(kind="windows", window_s=1)
    windows = [window(100), window(*[100] * 9)]

    run = summarize(
        spec(stability=rule),
        ClosedLoad(1),
        Measurement(windows=windows, has_ended=True),
    )

    assert run.recording.total == 10
    assert run.verdict.kind == "stable"


def test_each_level_of_a_periodic_load_has_the_figures_of_its_window():
    load = PeriodicLoad(start=1, end=3)
    measured = Measurement(windows=[window(100), window(200, 200)])

    run = summarize(spec(loads=(load,)), load, measured)

    assert [level.which for level in run.levels] == [
        {"concurrency": 1},
        {"concurrency": 2},
    ]
    assert [level.succeeded for level in run.levels] == [1, 2]


def test_models_have_figures_of_their_own_and_a_mean_batch_size():
    parts = (recording(100, 100, 100), recording(100))
    measured = Measurement(windows=[window(*[100] * 4, parts={"model": parts})])
    shares = (ModelShare(model="a", batch_size=2), ModelShare(model="b", batch_size=6))

    run = summarize(
        spec(model="", models=shares, batch_size=1), ClosedLoad(1), measured
    )

    assert [part.throughput for part in run.models] == [6, 6]
    assert run.figures.inferences_per_request == pytest.approx(3)


def test_an_interrupted_warm_up_has_no_figures():
    run = summarize(spec(), ClosedLoad(1), Measurement())

    assert run.recording.total == run.throughput == run.total == 0
