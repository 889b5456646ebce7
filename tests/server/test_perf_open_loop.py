import math
import os
import signal
import threading
import time

import psutil
import pytest

from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad, ScheduleLoad
from triton_kit.loadtest.record.stability import StopRule
from triton_kit.loadtest.results import verdict
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec

pytestmark = pytest.mark.server

RATE_HZ = 500
LENGTH_S = 3.0


def spec(loaded, protocol, **changes):
    url = loaded.grpc_url if protocol == "grpc" else loaded.http_url
    fixed = {"url": url, "protocol": protocol, "model": "mlp", "warm_up_s": 0.2}
    return PerfSpec(**(fixed | changes))


def stall(pid, begin, length_s, stalled):
    if not begin.wait(30):
        return
    start = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(length_s)
    finally:
        os.kill(pid, signal.SIGCONT)
    stalled.append(time.monotonic() - start)


@pytest.mark.parametrize("distribution", ["constant", "poisson"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_server_that_stalls_cannot_hide_it(loaded, protocol, distribution):
    stalled, begin = [], threading.Event()
    thread = threading.Thread(target=stall, args=(loaded.pid, begin, 0.5, stalled))
    thread.start()

    def begin_when_measuring(progress):
        if progress.done > 0.2:
            begin.set()

    result = measure(
        spec(
            loaded,
            protocol,
            loads=(RateLoad(rate_hz=RATE_HZ, distribution=distribution),),
            measurement_interval_s=LENGTH_S,
        ),
        begin_when_measuring,
    )
    thread.join()
    [run] = result.runs
    count = run.figures.succeeded + run.errors
    # Those due in the stall wait for its end: evenly from all of it to nothing.
    waited = RATE_HZ * stalled[0]
    truth_us = stalled[0] * (1 - 0.01 * count / waited) * 1e6

    assert run.errors == 0
    # At least that much: a busy machine adds to it. `scripts/bench perf` holds the
    # figure to 5 % on an idle one.
    assert run.as_json()["latency_us"]["p99"] >= 0.85 * truth_us


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_request_of_a_schedule_is_sent_and_counted_by_the_server(
    loaded, protocol
):
    load = ScheduleLoad(
        times_ns=tuple(range(0, 200_000_000, 1_000_000)), is_repeated=False, name="t"
    )

    result = measure(
        spec(loaded, protocol, loads=(load,), measurement_interval_s=0.5, warm_up_s=0)
    )
    [run] = result.runs

    assert (run.recording.succeeded, run.errors, run.total) == (200, 0, 200)


@pytest.fixture
def _others_do_not_count(monkeypatch):
    """Judge as on a machine where no other test runs."""
    monkeypatch.setattr(verdict, "_LOST_CORES", math.inf)


def is_behind(run):
    """Say so of the server; where the machine pauses, it may only be `unstable`."""
    return any(
        found.kind == "server-limited" or "due and unanswered" in found.reason
        for found in run.verdict.findings
    )


@pytest.mark.usefixtures("_others_do_not_count")
def test_a_rate_that_the_server_cannot_keep_is_reported(loaded):
    result = measure(
        spec(
            loaded,
            "grpc",
            model="slow",
            loads=(RateLoad(rate_hz=200),),
            measurement_interval_s=1.0,
            most_in_flight=8,
            drain_within_s=0.3,
        )
    )
    run = result.runs[0]

    assert is_behind(run)
    assert run.recording.errors["no response"].count > 50
    # Those that were due and never sent, too; a busy machine's window ends late.
    assert run.total == pytest.approx(200 * run.window_s, rel=0.2)


@pytest.mark.usefixtures("_others_do_not_count")
@pytest.mark.parametrize(
    ("rate_hz", "how"),
    [
        (40, {"most_in_flight": 8}),
        (160, {"most_in_flight": 8}),
        (40, {"request_count": 80}),
        (160, {"processes": 2}),
    ],
)
def test_a_server_that_falls_behind_is_the_limit(loaded, rate_hz, how):
    """It answers 20 per second, and what it is sent in spite of that in the end too."""
    how = {"most_in_flight": 80, "drain_within_s": 5.0} | how
    [run] = measure(
        spec(
            loaded,
            "grpc",
            model="slow",
            loads=(RateLoad(rate_hz=rate_hz),),
            measurement_interval_s=1.5,
            warm_up_s=0,
            **how,
        )
    ).runs

    assert is_behind(run)


def test_a_trace_that_ends_ends_the_measurement(loaded):
    # So few that those which a pause of the machine delays are no backlog.
    times = tuple(range(0, 500_000_001, 50_000_000))
    load = ScheduleLoad(times_ns=times, is_repeated=False, name="trace")
    rules = (
        None,
        StopRule(kind="windows", window_s=0.2, tolerance=5.0, most_windows=6),
    )
    for rule in rules:
        [run] = measure(
            spec(
                loaded,
                "http",
                model="mlp",
                loads=(load,),
                measurement_interval_s=None,
                stability=rule,
            )
        ).runs

        assert run.total == run.figures.succeeded == len(times)
        assert 0.4 <= run.window_s < 1.0
        assert run.verdict.kind in ("stable", "disturbed", "server-limited")
        assert "unanswered" not in str(run.verdict.findings)


def test_a_low_draw_of_poisson_is_no_fault_of_the_server(loaded):
    rate = RateLoad(rate_hz=20, distribution="poisson", seed=9)
    [run] = measure(
        spec(loaded, "http", model="mlp", loads=(rate,), measurement_interval_s=1.0)
    ).runs

    assert run.send_rate < 0.9 * rate.rate_hz
    assert "unanswered" not in str(run.verdict.findings)


@pytest.mark.usefixtures("real_time_granted")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_real_time_load_is_sent_at_real_time_priority(loaded, processes):
    policies = set()

    def look(_progress):
        for process in psutil.Process().children() if processes > 1 else [None]:
            policies.add(os.sched_getscheduler(process.pid if process else 0))

    [run] = measure(
        spec(
            loaded,
            "grpc",
            loads=(RateLoad(rate_hz=RATE_HZ, distribution="poisson"),),
            measurement_interval_s=0.5,
            real_time=True,
            processes=processes,
        ),
        look,
    ).runs

    assert os.SCHED_FIFO | os.SCHED_RESET_ON_FORK in policies
    assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
    assert run.errors == 0
    assert run.total >= 0.7 * RATE_HZ * run.window_s


def test_windows_are_measured_until_they_agree(loaded):
    rule = StopRule(kind="windows", window_s=0.2, tolerance=5.0, most_windows=6)

    result = measure(spec(loaded, "grpc", stability=rule))
    [run] = result.runs

    assert 3 <= len(run.windows) <= 6
    assert run.window_s == pytest.approx(
        sum(window.length_s for window in run.windows[-3:])
    )
    assert run.total >= run.figures.succeeded


def test_windows_may_be_of_so_many_requests(loaded):
    rule = StopRule(
        kind="windows", window_s=1, window_requests=40, tolerance=9, most_windows=4
    )
    [run] = measure(spec(loaded, "http", loads=(ClosedLoad(4),), stability=rule)).runs

    counts = [window.recording.succeeded for window in run.windows]
    assert 3 <= len(counts) <= 4
    assert min(counts) >= 40


def test_what_a_closed_loop_has_in_flight_may_take_as_long_as_any_request(loaded):
    """30 at once, 50 ms each, one after the other: an answer takes 1.5 s."""
    [run] = measure(
        spec(
            loaded,
            "grpc",
            model="slow",
            loads=(ClosedLoad(30),),
            measurement_interval_s=0.3,
            drain_within_s=0.1,
            warm_up_s=0,
        )
    ).runs

    assert run.recording.errors == {}
    assert run.total >= 30


@pytest.mark.usefixtures("_others_do_not_count")
def test_no_response_is_a_success_long_after_its_timeout(loaded):
    """Twice as many as the server can answer: the last would wait for 1.5 s. It owes
    no more in the end than before, as those that have waited for too long are given up.
    """
    [run] = measure(
        spec(
            loaded,
            "grpc",
            model="slow",
            loads=(RateLoad(rate_hz=40),),
            measurement_interval_s=1.5,
            request_timeout_s=0.3,
            warm_up_s=0,
        )
    ).runs

    assert run.recording.latency.max_ns < 1e9
    assert run.recording.errors["timeout"].count > 10
    assert set(run.recording.errors) == {"timeout"}
    assert run.verdict.is_failing
    assert run.verdict.findings[1].kind == "server-limited"
    assert "no response in time" in run.verdict.findings[1].reason
