import math
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import psutil
import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.net.clock import ns
from triton_kit.loadtest.record.backlog import BacklogHistory, BacklogSample
from triton_kit.loadtest.record.cpu import CpuUse, CpuWatch, server_process
from triton_kit.loadtest.record.process_cpu import ProcessUse
from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.record.stability import (
    StopRule,
    Window,
    confident,
    fixed,
    half_width,
    is_warm,
)
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.results.verdict import Pace, judge
from triton_kit.triton.address import Address

WINDOWS = StopRule(kind="windows", window_s=1, tolerance=0.1, most_windows=5)


def window(requests, latency_us=100):
    recorder = Recorder()
    recorder.times += (0, 0, 1, latency_us * 1000) * requests
    return Window(length_s=1.0, recording=recorder.take())


def test_three_windows_that_agree_are_enough():
    assert WINDOWS.is_over([window(100), window(105), window(109)])


def test_a_throughput_that_drifts_is_unstable():
    reason = WINDOWS.why_unstable([window(100), window(105), window(120)])

    assert reason == "throughput of the last three windows differs by 20%"


def test_a_window_without_a_successful_request_is_unstable():
    reason = WINDOWS.why_unstable([window(0), window(100), window(100)])

    assert reason == "in one of the last three windows no request succeeded"


def test_a_latency_that_drifts_is_unstable():
    reason = WINDOWS.why_unstable(
        [window(100, 100), window(100, 100), window(100, 200)]
    )

    assert "latency" in reason


def test_only_the_last_three_windows_count():
    windows = [window(500), window(100), window(100), window(100)]

    assert WINDOWS.is_over(windows)
    assert WINDOWS.used(windows) == windows[1:]


def test_after_the_last_trial_it_is_over_and_unstable():
    windows = [window(count) for count in (100, 200, 400, 800, 1600)]

    assert WINDOWS.is_over(windows)
    assert WINDOWS.why_unstable(windows) is not None


def test_windows_without_responses_are_unstable():
    assert WINDOWS.why_unstable([window(0)] * 3) is not None


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
    quiet = CpuUse(1.0, 0.5, 0.2, 0.3, cores=2)
    facts = {
        "why_unstable": None,
        "cpu": quiet,
        "recording": recorder.take(),
        "backlog": BacklogHistory(),
    }
    return judge(**(facts | changes))


def test_a_quiet_run_whose_windows_agree_is_stable():
    assert str(verdict()) == "stable"


def test_the_work_of_others_is_named():
    found = verdict(cpu=CpuUse(2.0, 2.0, 0.5, 0.5, cores=2))

    assert str(found) == "disturbed: other processes used 0.50 cores"


@pytest.mark.parametrize(
    ("cores", "lost", "kind"),
    [
        (1, 0.2, "stable"),
        (1, 0.3, "disturbed"),
        (4, 0.3, "disturbed"),
        (16, 0.76, "stable"),
        (16, 0.9, "disturbed"),
        (64, 3.0, "stable"),
        (64, 3.5, "disturbed"),
    ],
)
def test_how_much_others_may_take_depends_on_the_machine(cores, lost, kind):
    assert verdict(cpu=CpuUse(1.0, lost + 0.4, 0.2, 0.2, cores=cores)).kind == kind


@pytest.mark.parametrize(
    ("busy_s", "stolen_s", "reason"),
    [
        (2.0, 1.0, "the host gave 0.50 cores to other machines (steal)"),
        # More than was lost: this kernel counts it for the processes, too.
        (2.0, 1.5, "the host gave 0.50 cores to other machines (steal)"),
        (
            2.0,
            0.4,
            "other processes used 0.30 cores, "
            "the host gave 0.20 cores to other machines (steal)",
        ),
        (2.0, 0.01, "other processes used 0.49 cores"),
    ],
)
def test_steal_is_separate_from_other_processes(busy_s, stolen_s, reason):
    used = CpuUse(2.0, busy_s, 0.5, 0.5, stolen_s=stolen_s, cores=2)

    assert str(verdict(cpu=used)) == f"disturbed: {reason}"
    assert used.foreign_cores + used.stolen_cores == pytest.approx(used.lost_cores)


def test_a_client_that_uses_up_its_core_is_the_limit():
    found = verdict(cpu=CpuUse(1.0, 1.0, 0.95, 0.0, cores=2))

    assert str(found) == (
        "client-limited: the client used 0.95 of the one core that it can use"
    )


def test_a_load_process_that_uses_up_its_core_is_named():
    name = "load process 2 on node b"
    processes = ProcessUse("load process 1", 0.5), ProcessUse(name, 0.96, is_here=False)

    found = verdict(cpu=CpuUse(1.0, 1.0, 0.1, 0.0, processes, cores=2))

    assert found.kind == "client-limited"
    assert found.reason.startswith(f"{name} used 0.96 of the one core")


def test_load_processes_that_share_the_work_are_no_limit():
    processes = tuple(ProcessUse(str(number), 0.6) for number in range(3))

    assert str(verdict(cpu=CpuUse(1.0, 1.9, 0.1, 0.0, processes, cores=4))) == "stable"


def answered(good, late, refused=""):
    recorder = Recorder()
    recorder.times += (0, 0, 1, 100) * good
    for _ in range(late):
        recorder.fail(Failure("timeout"))
    if refused:
        recorder.fail(Failure("gRPC INTERNAL", refused))
    return recorder.take()


@pytest.mark.parametrize(
    ("late", "cancels", "why"),
    [
        (0, True, ""),
        (1, False, ""),
        (
            1,
            True,
            ": some releases (24.10 is one) crash when gRPC requests are cancelled, "
            "as they are at their timeout",
        ),
    ],
)
def test_a_server_that_ended_is_not_taken_for_others(late, cancels, why):
    used = CpuUse(1.0, 1.8, 0.2, None, has_server_ended=True)

    found = verdict(cpu=used, recording=answered(999, late), cancels=cancels)

    assert str(found) == f"failing: the server's process ended{why}"


DEAD_MODEL = "in ensemble 'chain', Stub process 'mlp_0_0' is not healthy."


@pytest.mark.parametrize("good", [0, 1000])
@pytest.mark.parametrize(
    ("has_ended", "reason"),
    [
        (
            True,
            "the server's process ended, as some releases (24.10 is one) do when the "
            "process of a Python model ends or has no CPU for a second",
        ),
        (
            False,
            "the process of a Python model ended or had no CPU for a second; it "
            "responds with errors until it is unloaded and loaded",
        ),
    ],
)
def test_a_model_whose_process_ended_is_failing(has_ended, reason, good):
    """However many answers came before."""
    used = CpuUse(1.0, 1.8, 0.2, None, has_server_ended=has_ended)

    found = verdict(cpu=used, recording=answered(good, 1, DEAD_MODEL), cancels=True)

    assert str(found) == f"failing: {reason}"


@pytest.mark.parametrize(("good", "late"), [(98, 2), (0, 100)])
def test_a_server_that_responds_too_late_is_failing(good, late):
    """However little it owes in the end, as requests were given up."""
    found = verdict(
        recording=answered(good, late),
        why_unstable="it wavers",
        backlog=history([100] * 30 + [140] * 20),
    )

    assert [str(finding) for finding in found.findings[:2]] == [
        f"failing: {late} of 100 requests failed (timeout)",
        f"server-limited: {late} of 100 requests had no response in time",
    ]


def test_one_timeout_in_a_hundred_may_be_an_accident():
    assert str(verdict(recording=answered(99, 1))) == "stable"


def history(counts, per_tick=lambda tick: 1000):
    backlog, due = BacklogHistory(), 0
    for tick, count in enumerate(counts):
        due += per_tick(tick)
        backlog.note(tick, BacklogSample(due, count))
    return backlog


def test_a_server_that_falls_behind_is_the_limit():
    found = verdict(backlog=history(range(0, 202, 2)))

    assert found.kind == "server-limited"
    assert found.reason == (
        "75 requests were due and unanswered in the second quarter of the time, "
        "175 in the last"
    )


@pytest.mark.parametrize("overload", [1.1, 2, 20])
def test_any_overload_is_noticed(overload):
    per_tick = 100 * (1 - 1 / overload)

    assert verdict(backlog=history(round(n * per_tick) for n in range(50))).kind == (
        "server-limited"
    )


@pytest.mark.parametrize(
    "counts",
    [
        [0] * 50,
        [1, 0] * 25,
        [min(10 * n, 100) for n in range(50)],  # a request takes a fifth of the run
        [100] * 49 + [400],  # it stood still at the very end
        np.random.default_rng(1).poisson(100, 50).tolist(),
        [0, 3],
        [],
    ],
)
def test_a_server_that_keeps_up_is_not_behind(counts):
    assert str(verdict(backlog=history(counts))) == "stable"


def test_requests_as_long_as_half_the_run_leave_it_open():
    found = verdict(backlog=history(min(10 * n, 250) for n in range(50)))

    assert found.kind == "unstable"


def owed_beside_pauses(is_paused, count_at):
    """A machine that stands still at times, and the client on it: no notes then."""
    backlog = BacklogHistory()
    for tick in range(101):
        if not is_paused(tick):
            backlog.note(tick, BacklogSample(1000 * tick, count_at(tick)))
    return backlog


@pytest.mark.parametrize("quarter", [1, 3])
def test_a_server_that_falls_behind_on_a_machine_that_pauses_is_the_limit(quarter):
    paused = range(25 * quarter - 2, min(25 * quarter + 26, 100))
    found = verdict(
        backlog=owed_beside_pauses(paused.__contains__, lambda tick: 2 * tick)
    )

    assert found.kind == "server-limited"
    assert found.reason == (
        "75 requests were due and unanswered in the second quarter of the time, "
        "175 in the last"
    )


@pytest.mark.parametrize("quarter", [1, 3])
def test_a_server_that_keeps_up_on_a_machine_that_pauses_is_not_behind(quarter):
    paused = range(25 * quarter - 2, min(25 * quarter + 26, 100))

    def count_at(tick):
        return 120 if tick == paused.stop else 100  # what came due in the pause

    backlog = owed_beside_pauses(paused.__contains__, count_at)

    assert str(verdict(backlog=backlog)) == "stable"


def test_notes_of_one_moment_are_no_error():
    backlog = BacklogHistory()
    for _ in range(9):
        backlog.note(5, BacklogSample(1, 1))

    assert str(verdict(backlog=backlog)) == "stable"


def test_a_run_may_last_for_days():
    growth = history(n // 100 for n in range(100_000)).growth()

    assert growth.second_quarter == pytest.approx(375, rel=0.05)
    assert growth.last_quarter == pytest.approx(875, rel=0.05)
    assert growth.rate == pytest.approx(1, rel=0.05)


def test_a_backlog_that_grows_with_the_rate_is_stable():
    """A request takes ten ticks, and ever more are sent."""
    backlog = history((10 * n for n in range(100)), per_tick=lambda tick: tick)

    assert verdict(backlog=backlog).kind == "stable"


def test_an_unstable_run_has_the_reason():
    assert str(verdict(why_unstable="it jumps")) == "unstable: it jumps"


def test_a_run_without_a_successful_response_is_failing():
    recorder = Recorder()
    recorder.fail(Failure("HTTP 500"))

    recording = recorder.take()

    for cpu in (CpuUse(1.0, 0.1, 0.1, 0.5), CpuUse(2.0, 2.0, 0.5, 0.5, cores=2)):
        found = verdict(recording=recording, cpu=cpu)
        assert str(found) == "failing: 1 of 1 requests failed (HTTP 500)"


def failed(count, of=100):
    recorder = Recorder()
    recorder.times += (0, 0, 1, 100) * (of - count)
    for _ in range(count):
        recorder.fail(Failure("HTTP 400", "unexpected shape\nfor input 'x'"))
    return recorder.take()


def test_failed_requests_reach_the_verdict():
    found = verdict(recording=failed(88))

    assert found.is_failing
    assert str(found) == (
        "failing: 88 of 100 requests failed (HTTP 400: unexpected shape for input 'x')"
    )
    assert not verdict(recording=failed(1)).is_failing


@pytest.mark.parametrize(
    ("count", "allowed", "is_failing"),
    [(5, 0.1, False), (10, 0.1, True), (1, 0.001, True), (0, 0.001, False)],
)
def test_an_objective_says_how_many_requests_may_fail(count, allowed, is_failing):
    found = verdict(recording=failed(count), allowed_failed=allowed)

    assert found.is_failing == is_failing


def test_a_verdict_lists_every_finding_worst_first():
    found = verdict(
        recording=failed(50),
        cpu=CpuUse(2.0, 3.0, 0.5, 0.5, cores=2),
        backlog=history(range(0, 202, 2)),
        why_unstable="it jumps",
    )

    kinds = ["failing", "server-limited", "disturbed", "unstable"]
    assert [finding.kind for finding in found.findings] == kinds
    assert [row["kind"] for row in found.as_json()["findings"]] == kinds


def test_a_busy_machine_limits_the_server_unless_other_processes_take_it():
    alone = verdict(cpu=CpuUse(1.0, 2.02, 0.2, 1.8, cores=2))
    shared = verdict(cpu=CpuUse(1.0, 2.0, 0.2, 0.4, cores=2))

    assert str(alone) == "server-limited: 100% of this machine's CPU is in use"
    assert [str(finding) for finding in shared.findings] == [
        "disturbed: other processes used 1.40 cores"
    ]


def slower(latency_ns):
    recorder = Recorder()
    for index in range(100):
        recorder.times += (0, 0, 1, latency_ns * (index + 1))
    return recorder.take()


def test_a_rate_that_is_not_kept_is_the_servers_limit():
    """The backlog alone is too small to be no accident."""
    backlog = history([n // 8 for n in range(100)])
    short = Pace(due_per_s=60, ended_per_s=48, window_s=1)
    kept = Pace(due_per_s=60, ended_per_s=59, window_s=1)

    found = verdict(backlog=backlog, pace=short, recording=slower(ns(0.001)))

    assert found.kind == "server-limited"
    assert found.reason.startswith("48.0 of the 60.0 requests per second that were due")
    assert verdict(backlog=backlog, pace=kept).kind == "stable"


def latencies(*milliseconds):
    recorder = Recorder()
    for one in milliseconds:
        recorder.times += (0, 0, 1, ns(one / 1000))
    return recorder.take()


def test_the_first_run_of_a_batch_size_is_not_stable():
    cold, warm = latencies(*[3] * 99, 700), latencies(*[3] * 99, 9)

    found = verdict(recording=cold, first_batch_sizes=[3, 8])

    assert found.kind == "unstable"
    assert "for the first time (3, 8), and a response took 700 ms" in found.reason
    assert verdict(recording=warm, first_batch_sizes=[3, 8]).kind == "stable"
    assert verdict(recording=cold).kind == "stable"


@pytest.mark.parametrize(
    ("before", "now", "may_grow", "expected"),
    [
        ([700, 3, 3], [3, 3, 3], False, False),
        ([3, 3, 3], [3, 3, 4], False, True),
        ([3, 3, 3], [700, 3, 3], False, False),
        ([3, 3, 3], [700, 3, 3], True, True),
        ([700], [3], False, True),
    ],
)
def test_a_server_is_warm_once_two_windows_agree(before, now, may_grow, expected):
    histograms = [latencies(*window).latency for window in (before, now)]

    assert is_warm(*histograms, may_grow=may_grow) == expected


def test_our_own_work_is_not_foreign():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(host="127.0.0.1", port=listener.getsockname()[1])
        found = server_process(address)
        watch = CpuWatch([address])
        before = watch.sample()
        sum(range(2_000_000))
        used = watch.since(before)

    assert found is not None
    assert used.client_s > 0
    assert used.machine_s >= used.stolen_s >= 0


LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@contextmanager
def listening(port=0):
    """Run a process that listens; yield it and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield process, int(process.stdout.readline())
        process.kill()


@pytest.mark.parametrize("is_buried", [True, False])
def test_a_server_that_was_started_anew_is_no_stranger(is_buried):
    with ExitStack() as stack:
        first, port = stack.enter_context(listening())
        watch = CpuWatch([Address(host="127.0.0.1", port=port)])
        between = watch.sample()
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        if is_buried:
            first.wait()
        watch.sample()  # while there is none

        second, _ = stack.enter_context(listening(port))
        used_in_between = watch.since(between)
        before = watch.sample()
        used = watch.since(before)

        assert before.servers[0].pid == second.pid
        assert used_in_between.has_server_ended
        assert used_in_between.server_s is None
        assert not used.has_server_ended
        assert used.server_s >= 0


@pytest.mark.parametrize("stolen_s", [0.0, 2.0])
def test_a_hidden_server_makes_no_run_disturbed(stolen_s):
    """Its CPU is among that of other processes; what the host took is known."""
    used = CpuUse(
        2.0, 3.9, 0.5, None, stolen_s=stolen_s, cores=2, is_server_hidden=True
    )

    found = verdict(cpu=used)

    assert found.kind == ("disturbed" if stolen_s else "stable")
    assert "other processes" not in found.reason


def test_a_server_that_cannot_be_seen_is_hidden(monkeypatch):
    """As one of another user, or behind Docker's proxy: the kernel names no process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(host="127.0.0.1", port=listener.getsockname()[1])
        monkeypatch.setattr(psutil, "net_connections", lambda kind: [])
        watch = CpuWatch([address])
        hidden = watch.since(watch.sample())
        watch = CpuWatch([address], server_pid=os.getpid())
        named = watch.since(watch.sample())

    assert hidden.is_server_hidden
    assert hidden.server_s is None
    assert not named.is_server_hidden
    assert named.server_s >= 0


def test_a_proxy_is_not_taken_for_the_server():
    """It used 0.1 s of CPU while the server counted 3 s of work."""
    used = CpuUse(2.0, 3.4, 0.2, 0.1, cores=2)

    assert used.with_server_work(3.0).is_server_hidden
    assert not used.with_server_work(0.05).is_server_hidden
    assert not replace(used, server_s=2.9).with_server_work(3.0).is_server_hidden


def test_a_server_without_counters_is_seen_even_if_it_used_no_cpu():
    used = CpuUse(0.5, 1.0, 0.1, 0.0, cores=2)

    assert used.with_server_work(0.0).server_s == 0


def test_a_server_process_that_is_not_there_is_refused():
    with subprocess.Popen(["true"]) as ended:
        ended.wait()

    with pytest.raises(SpecError, match=f"server process {ended.pid}: this machine"):
        CpuWatch([], server_pid=ended.pid)


def test_a_server_whose_work_is_done_by_a_gpu_is_known():
    """Nobody else used the CPU that the work would have taken."""
    used = CpuUse(2.0, 0.5, 0.2, 0.2, cores=2)

    assert not used.with_server_work(3.0).is_server_hidden


def test_a_server_elsewhere_has_no_process_here():
    assert server_process(Address(host="192.0.2.1", port=8000)) is None


def test_a_window_has_at_least_one_request():
    with pytest.raises(SpecError, match="0 requests per window"):
        StopRule(kind="windows", window_s=1, window_requests=0)
