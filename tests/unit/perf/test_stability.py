import math

import pytest

from triton_kit.errors import SpecError
from triton_kit.perf.record.cpu import CpuUse, CpuWatch, server_process
from triton_kit.perf.record.recorder import Recorder
from triton_kit.perf.record.stability import (
    StopRule,
    Window,
    confident,
    fixed,
    half_width,
)
from triton_kit.perf.request import Failure
from triton_kit.perf.results.verdict import judge

WINDOWS = StopRule(kind="windows", window_s=1, tolerance=0.1, most_windows=5)


def window(requests, latency_us=100):
    recorder = Recorder()
    recorder.times += (0, 0, 1, latency_us * 1000) * requests
    return Window(length_s=1.0, recording=recorder.cut())


def test_three_windows_that_agree_are_enough():
    assert WINDOWS.is_over([window(100), window(105), window(109)])


def test_a_throughput_that_drifts_is_not_settled():
    reason = WINDOWS.unsettled([window(100), window(105), window(120)])

    assert reason == "throughput of the last three windows differs by 20%"


def test_a_latency_that_drifts_is_not_settled():
    reason = WINDOWS.unsettled([window(100, 100), window(100, 100), window(100, 200)])

    assert "latency" in reason


def test_only_the_last_three_windows_count():
    windows = [window(500), window(100), window(100), window(100)]

    assert WINDOWS.is_over(windows)
    assert WINDOWS.used(windows) == windows[1:]


def test_after_the_last_trial_it_is_over_and_unstable():
    windows = [window(count) for count in (100, 200, 400, 800, 1600)]

    assert WINDOWS.is_over(windows)
    assert WINDOWS.unsettled(windows) is not None


def test_windows_without_answers_never_settle():
    assert WINDOWS.unsettled([window(0)] * 3) is not None


def test_one_fixed_window_is_enough():
    rule = fixed(2.0)

    assert not rule.is_over([])
    assert rule.is_over([window(1)])


def test_narrow_intervals_end_a_run_early_and_wide_ones_do_not():
    steady = [window(100 + index % 2) for index in range(5)]
    wild = [window(count) for count in (100, 300, 50, 400, 90)]

    assert confident().is_over(steady)
    assert not confident().is_over(wild)


def test_the_interval_is_that_of_student():
    # Mean 10, standard error 1 / sqrt(3), t for 2 degrees of freedom 4.30.
    assert half_width([9, 10, 11]) == pytest.approx(4.30 / math.sqrt(3) / 10)


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0]])
def test_too_little_is_known_to_have_an_interval(values):
    assert half_width(values) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "other"},
        {"window_s": 0},
        {"percentile": 100},
        {"percentile": 0},
        {"tolerance": 0},
        {"most_windows": 0},
    ],
)
def test_an_impossible_rule_does_not_exist(wrong):
    with pytest.raises(SpecError):
        StopRule(**({"kind": "windows", "window_s": 1} | wrong))


def verdict(**changes):
    recorder = Recorder()
    recorder.times += (0, 0, 1, 100)
    quiet = CpuUse(1.0, 0.5, 0.2, 0.3)
    facts = {
        "unsettled": None,
        "cpu": quiet,
        "recording": recorder.cut(),
        "due": None,
        "late": 0,
        "length_s": 1.0,
    }
    return judge(**(facts | changes))


def test_a_quiet_settled_run_is_stable():
    assert str(verdict()) == "stable"


def test_the_work_of_others_is_named():
    found = verdict(cpu=CpuUse(2.0, 2.0, 0.5, 0.5))

    assert str(found) == "disturbed: other processes used 0.50 cores"


def test_a_client_that_uses_up_its_core_is_the_limit():
    assert verdict(cpu=CpuUse(1.0, 1.0, 0.95, 0.0)).kind == "client-limited"


def test_an_open_loop_that_is_not_answered_is_limited_by_the_server():
    found = verdict(due=200, late=100)

    assert found.kind == "server-limited"
    assert found.reason.startswith("100 of 200 requests were still unanswered")


def test_what_latency_keeps_in_flight_is_not_behind():
    recorder = Recorder()
    for _ in range(100):
        recorder.times += (0, 0, 1, 200_000_000)
    recording = recorder.cut()

    assert verdict(due=1000, late=210, recording=recording).kind == "stable"
    assert verdict(due=1000, late=600, recording=recording).kind == "server-limited"


def test_few_requests_with_one_on_its_way_are_not_behind():
    assert verdict(due=15, late=1).kind == "stable"


def test_a_run_that_did_not_settle_says_why():
    assert str(verdict(unsettled="it jumps")) == "unstable: it jumps"


def test_a_run_without_a_good_answer_is_not_stable():
    recorder = Recorder()
    recorder.fail(Failure("HTTP 500"))

    assert verdict(recording=recorder.cut()).kind == "unstable"


def test_our_own_work_is_not_foreign():
    import socket

    from triton_kit.perf.address import Address

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(host="127.0.0.1", port=listener.getsockname()[1])
        found = server_process(address)
        watch = CpuWatch(address)
        before = watch.sample()
        sum(range(2_000_000))
        used = watch.since(before)

    assert found is not None
    assert used.client_s > 0
    assert used.machine_s >= 0


def test_a_server_elsewhere_has_no_process_here():
    from triton_kit.perf.address import Address

    assert server_process(Address(host="192.0.2.1", port=8000)) is None


def test_a_window_has_at_least_one_request():
    with pytest.raises(SpecError, match="0 requests per window"):
        StopRule(kind="windows", window_s=1, window_requests=0)
