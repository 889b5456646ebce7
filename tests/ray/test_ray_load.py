"""Load from the nodes of a real Ray cluster on the real server."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import psutil
import pytest
from clusters import SECONDS_AHEAD, end_all, eventually, processes_of_nodes

from triton_kit.errors import SpecError
from triton_kit.execute.cluster import ExecutorChoice
from triton_kit.execute.parcel import digest_of
from triton_kit.execute.ray_load import ray_workers
from triton_kit.execute.store import Store
from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec

pytestmark = pytest.mark.server
GAP_NS = 5_000_000


def spec(server, **changes):
    fixed = {
        "url": server.http_url,
        "model": "mlp",
        "loads": (RateLoad(rate_hz=200),),
        "warm_up_s": 0.0,
        "processes": 2,
    }
    return PerfSpec(**(fixed | changes))


def measured(spec, on_progress=None):
    return measure(spec, on_progress, workers=ray_workers(ExecutorChoice("ray")))


def load_processes():
    return processes_of_nodes("triton_kit.loadtest.run.worker")


def test_two_nodes_send_one_schedule_with_files_of_this_machine(
    server, driver, tmp_path, cluster
):
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.ones((4, 16), np.float32))
    shown = []
    result = measured(
        spec(server, request_count=301, keep_times=True, input_data=str(samples)),
        lambda progress: shown.append(progress.status.workers),
    )
    [run] = result.runs
    due_ns = np.sort(np.concatenate(run.recording.times)[:, 0])

    assert run.recording.errors == {}
    assert run.recording.succeeded == run.total == run.server[0].requests == 301
    assert set(np.diff(due_ns)) == {GAP_NS}
    assert "2 processes on 2 nodes" in shown
    assert len({worker["node"] for worker in result.environment["workers"]}) == 2
    # They have it from the store of their node, not from the path.
    cache = processes_of_nodes("raylet")[0].environ()["XDG_CACHE_HOME"]
    content = samples.read_bytes()
    store = Store(type(tmp_path)(cache) / "triton-kit" / "received")
    assert store.missing([digest_of(content)]) == []
    eventually(lambda: not load_processes())


def test_the_cpu_of_load_processes_counts_as_on_one_machine(server, driver):
    load = spec(server, loads=(RateLoad(rate_hz=1000),), request_count=3000)
    senders, kernel_s = [], []

    def note(progress):
        senders.extend(() if senders else load_processes())
        with suppress(psutil.NoSuchProcess):
            times = [sender.cpu_times() for sender in senders]
            kernel_s.append(sum(each.user + each.system for each in times))

    [local], [run] = measure(load).runs, measured(load, note).runs
    per_request_us = run.client_cpu_us_per_request

    assert len(run.cpu.processes) == 2
    assert all(" on node " in process.name for process in run.cpu.processes)
    assert per_request_us * 3000 > run.cpu.own_s * 1e6
    assert 1 / 3 < per_request_us / local.client_cpu_us_per_request < 3
    # The nodes are on this machine.
    assert run.cpu.client_here_s == run.cpu.client_s
    used_s = sum(process.spent_s for process in run.cpu.processes)
    assert 2 / 3 < used_s / (max(kernel_s) - kernel_s[0]) < 3 / 2


def test_a_killed_load_process_is_named_and_the_counts_add_up(server, driver):
    killed, priorities = [], []

    def kill(progress):
        if not killed and progress.status.ended > 40:
            priorities.extend(process.nice() for process in load_processes())
            killed.append(load_processes()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    result = measured(spec(server, request_count=600), kill)
    [run] = result.runs
    [lost] = [w for w in result.environment["workers"] if w["lost"]]

    assert run.recording.succeeded + run.recording.failed == run.total == 600
    assert run.recording.errors["not sent"].count > 0
    assert "killed by SIGKILL" in run.recording.errors["not sent"].example
    assert all(cores > 0 for cores in run.cpu.process_cores)
    if os.geteuid() == 0:  # Ray's processes have 15
        assert priorities == [0, 0]
    assert lost["node"] in result.table()
    assert result.is_failing


def test_a_node_with_another_clock_keeps_the_schedule_and_may_die(
    server, driver, node_ahead
):
    process, is_ahead = node_ahead
    eventually(lambda: driver.cluster_resources().get("ahead"))
    result = measured(spec(server, processes=3, request_count=150, keep_times=True))
    due_ns = np.sort(np.concatenate(result.runs[0].recording.times)[:, 0])

    assert result.runs[0].recording.errors == {}
    assert set(np.diff(due_ns)) == {GAP_NS}
    assert is_ahead is any(w["clock_offset_ns"] for w in result.environment["workers"])
    assert all(0 < cores < 2 for cores in result.runs[0].cpu.process_cores)
    seen = []

    def kill(progress):
        seen.append(progress.status.workers)
        if progress.status.ended > 200 and process.poll() is None:
            end_all(process)

    result = measured(
        spec(server, processes=3, request_count=1200, keep_times=True), kill
    )
    [run] = result.runs
    workers = result.environment["workers"]
    [lost] = [worker for worker in workers if worker["lost"]]
    offset_s = lost["clock_offset_ns"] / 1e9

    assert run.recording.succeeded + run.recording.failed == 1200
    assert run.recording.errors["not sent"].count > 0
    assert any("1 lost" in text for text in seen)
    if is_ahead:
        assert abs(offset_s - SECONDS_AHEAD) < 60
        assert lost["clock_bound_ns"] > 0


def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(server, driver):
    def interrupt(progress):
        if progress.status.ended > 20:
            os.kill(os.getpid(), signal.SIGINT)

    result = measured(
        spec(server, loads=(ClosedLoad(2),), measurement_interval_s=60.0), interrupt
    )

    assert result.was_interrupted
    assert result.runs[0].recording.succeeded > 0
    eventually(lambda: not load_processes())


def test_a_dead_driver_leaves_no_load_process(server, cluster):
    words = ["perf", "-m", "mlp", "-u", server.http_url, "-p", "300000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "triton_kit", *words, "--executor", "ray"],
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = iter(process.stderr.readline, "")
    assert any("1 processes on 1 nodes" in line for line in lines)
    assert load_processes()

    process.kill()
    process.communicate()

    eventually(lambda: not load_processes())


def test_more_processes_than_cpus_are_refused(server, driver):
    with pytest.raises(
        SpecError, match=r"3 asked for, with 1 CPU each; .*2 nodes have room for 2"
    ) as caught:
        measured(spec(server, processes=3))

    assert caught.value.hint.startswith("ask for fewer at once, or add nodes")


def test_a_cluster_that_is_gone_is_refused_at_once(server, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    words = ["perf", "-m", "mlp", "-u", server.http_url, "--executor", "ray"]
    result = subprocess.run(
        [sys.executable, "-m", "triton_kit", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 6
    assert result.stderr.splitlines() == [
        "Error: executor ray: the cluster at 127.0.0.1:9 does not respond: "
        "Connection refused",
        "  hint: $RAY_ADDRESS, or the last `ray start` on this machine, names it",
    ]


def test_a_cluster_of_another_ray_is_refused(cluster, server, kit):
    from ray._raylet import GcsClient

    gcs = GcsClient(address=cluster.address)
    key, space = b"CLUSTER_METADATA", b"cluster"
    before = gcs.internal_kv_get(key, namespace=space)
    other = before.replace(b'"ray_version": "', b'"ray_version": "1.')
    assert other != before
    gcs.internal_kv_put(key, other, overwrite=True, namespace=space)
    try:
        result = kit("perf", "-m", "mlp", "-u", server.http_url, "--executor", "ray")
    finally:
        gcs.internal_kv_put(key, before, overwrite=True, namespace=space)

    assert result.exit_code == 2
    assert "ersion mismatch" in result.stderr
    assert "hint: use the cluster's versions of Python and Ray" in result.stderr
