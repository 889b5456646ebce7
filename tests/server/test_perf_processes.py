import os
import signal
import threading

import numpy as np
import psutil
import pytest

from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.loops.mix import ModelShare
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec

pytestmark = pytest.mark.server


def spec(loaded, protocol="grpc", **changes):
    url = loaded.grpc_url if protocol == "grpc" else loaded.http_url
    fixed = {"url": url, "protocol": protocol, "model": "mlp", "warm_up_s": 0.1}
    return PerfSpec(**(fixed | {"processes": 2} | changes))


def is_worker(process):
    try:
        return "triton_kit.loadtest.run.worker" in process.cmdline()
    except psutil.Error:  # a zombie has no command line
        return False


def workers():
    return [child for child in psutil.Process().children() if is_worker(child)]


@pytest.mark.parametrize("load", [ClosedLoad(5), RateLoad(rate_hz=300)], ids=str)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_processes_share_a_load_exactly(loaded, protocol, load):
    result = measure(spec(loaded, protocol, loads=(load,), request_count=101))
    [run] = result.runs

    assert run.recording.errors == {}
    assert run.recording.succeeded == run.server[0].requests == run.total == 101
    assert workers() == []


def test_windows_are_merged_and_the_rate_is_kept(loaded):
    result = measure(
        spec(
            loaded,
            loads=(RateLoad(rate_hz=200),),
            measurement_interval_s=1.0,
            warm_up_s=0,
            keep_times=True,
        )
    )
    [run] = result.runs
    due_ns = np.sort(np.concatenate(run.recording.times)[:, 0])
    # One of them may have sent a little more until it heard of the end.
    due_ns = due_ns[due_ns < run.boundaries_ns[-1]]

    assert run.recording.errors == {}
    assert len(due_ns) >= 200
    assert set(np.diff(due_ns)) == {5_000_000}  # however busy this machine is
    assert all(used.spent_s > 0 for used in run.cpu.processes)
    assert run.cpu.busiest.spent_s < run.cpu.client_s
    assert all(point.client_cores > 0 for point in run.resources)


def test_sequences_of_two_processes_do_not_meet(loaded):
    result = measure(
        spec(
            loaded,
            model="counter",
            loads=(ClosedLoad(4),),
            sequences=Sequences(length=5, first_id=300),
            request_count=80,
            warm_up_s=0,
        )
    )

    assert result.runs[0].recording.errors == {}


def test_models_are_told_apart(loaded):
    result = measure(
        spec(
            loaded,
            model="",
            models=(ModelShare(model="mlp", weight=3), ModelShare(model="chain")),
            loads=(RateLoad(rate_hz=400),),
            request_count=200,
        )
    )

    assert [part.succeeded for part in result.runs[0].models] == [150, 50]


def test_a_worker_that_dies_is_named_and_the_run_goes_on(loaded):
    killed = []

    def kill(progress):
        if not killed and progress.done > 0.02:
            killed.append(workers()[1].pid)
            os.kill(killed[0], signal.SIGKILL)
        if progress.status.workers == "2 processes, 1 lost":
            os.kill(os.getpid(), signal.SIGINT)

    loads = (ClosedLoad(4),)
    result = measure(spec(loaded, loads=loads, measurement_interval_s=30.0), kill)
    [other, lost] = result.environment["workers"]
    [run] = result.runs

    assert run.recording.errors["not sent"].count == 2  # what it had in flight
    assert "killed by SIGKILL" in run.recording.errors["not sent"].example
    assert run.recording.succeeded > 0
    findings = [str(finding) for finding in run.verdict.findings]
    assert "client-limited: load process 2 was lost: killed by SIGKILL" in findings[0]
    assert all(cores > 0 for cores in run.as_json()["load_process_cores"])
    assert other["lost"] is None
    assert "load process 2 was lost" in lost["lost"]
    assert workers() == []


def test_without_any_process_a_run_is_an_error(loaded):
    def kill(progress):
        if progress.done > 0.01:
            for worker in workers():
                worker.kill()

    with pytest.raises(TransportError, match="was lost: killed by SIGKILL"):
        measure(spec(loaded, loads=(ClosedLoad(4),), measurement_interval_s=30.0), kill)

    assert workers() == []


def test_ctrl_c_keeps_what_was_measured(loaded):
    def interrupt(progress):
        if progress.done > 0.01:
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    result = measure(
        spec(loaded, loads=(ClosedLoad(4),), measurement_interval_s=30.0), interrupt
    )

    assert result.was_interrupted
    assert result.runs[0].recording.succeeded > 0
    assert workers() == []


def test_too_few_in_flight_for_all_are_refused(loaded):
    with pytest.raises(SpecError, match="cannot be divided among 4"):
        measure(spec(loaded, loads=(ClosedLoad(3),), processes=4))
