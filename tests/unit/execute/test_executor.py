import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from triton_kit.errors import SpecError, TransportError
from triton_kit.execute.cluster import ExecutorChoice
from triton_kit.execute.parcel import Parcel, digest_of
from triton_kit.execute.shipment import files_of, pack, spec_on
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.record.recorder import Recorder, Recording, Snapshot
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.clock_offset import ClockOffset, measure_offset
from triton_kit.loadtest.run.lost_requests import LostRequests
from triton_kit.loadtest.spec import PerfSpec


@pytest.mark.parametrize("text", ["roy", "ray://", "ray:head", "", "ray://h:99999999"])
def test_an_executor_that_is_none_is_refused(text):
    with pytest.raises(SpecError, match="executor"):
        ExecutorChoice(text)


def test_a_head_that_does_not_listen_is_named():
    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        choice = ExecutorChoice(f"ray://127.0.0.1:{bound.getsockname()[1]}")

        with pytest.raises(TransportError, match="refused") as caught:
            choice.address  # noqa: B018

    assert "port 10001" in caught.value.hint


def test_without_ray_the_command_to_install_it_is_named():
    words = ["perf", "-m", "x", "-u", "127.0.0.1:9", "--executor", "ray"]
    code = (
        "import sys; sys.modules['ray'] = None\n"
        f"from triton_kit.cli import main; main({words})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert done.returncode == 8
    assert "executor ray: Ray is not installed" in done.stderr
    assert "pip install 'triton_kit[ray]'" in done.stderr


@pytest.mark.parametrize("name", ["../x", "/etc/x", ""])
def test_a_parcel_stays_in_its_folder(name):
    with pytest.raises(TransportError, match="no name in a folder"):
        Parcel({name: digest_of(b"")})


def test_paths_of_a_spec_become_those_of_a_node(tmp_path):
    samples = tmp_path / "x.npz"
    samples.write_bytes(b"1")
    spec = PerfSpec(url="h", model="m", input_data=(f"x:{samples}", "random"))
    shipment = pack(files_of(spec))

    [(digest, path)] = shipment.contents.items()
    assert (digest, path) == (digest_of(b"1"), samples)
    assert spec_on(spec, shipment, "/node").input_data == ("x:/node/0/x.npz", "random")


def test_times_cross_a_clock_that_is_ahead_and_come_back():
    clock = ClockOffset(5_000, 10)
    recorder = Recorder(keep_times=True)
    recorder.times += [6_000, 6_001, 6_002, 6_003]
    recorder.keep_response_times([6_002])
    recorder.generated((6_000, 6_001, 0, 0, 6_003, 1, 2, 3), None)
    reported = messages.Reported(Snapshot(recorder.take()))

    recording = clock.from_worker(reported).snapshot.whole

    assert clock.to_worker(messages.Begin(1, 7, None)).at_ns == 5_007
    assert clock.to_worker(messages.Finish(7)).end_ns == 5_007
    assert recording.times[0].tolist() == [[1_000, 1_001, 1_002, 1_003]]
    assert recording.responded_at[0].tolist() == [1_002]
    assert recording.generations.rows()[0].tolist()[:5] == [1_000, 1_001, 0, 0, 1_003]
    assert recording.latency.max_ns == 3


def test_the_offset_of_a_clock_is_within_its_bound():
    found = measure_offset(lambda: time.monotonic_ns() + 10**12, rounds=5)

    assert abs(found.offset_ns - 10**12) <= found.bound_ns


@pytest.mark.parametrize("count", [None, 1000])
def test_what_a_lost_worker_owes_counts_as_not_sent(count):
    lost = LostRequests(RateLoad(rate_hz=100).times, None)
    share = WorkerShare(1, 3)
    lost.begin(0, count)
    lost.report(1, 2)
    recording = Recording()

    lost.count(share, "gone", 10**9, recording)
    lost.finish(2 * 10**9)
    lost.count(share, "gone", 5 * 10**9, recording)

    owed = share.exactly(200 if count is None else count)
    assert recording.errors["not sent"].count == owed - 2
    assert recording.errors["not sent"].example == "gone"
    assert lost.reported(1) == 2


def test_a_lost_worker_of_a_closed_loop_owes_what_it_had_in_flight():
    lost = LostRequests(None, 7)
    lost.begin(0, None)
    lost.report(0, 50)
    recording = Recording()

    for _ in range(2):
        lost.count(WorkerShare(0, 2), "gone", 10**9, recording)

    assert recording.errors["not sent"].count == 4
    assert np.isfinite(recording.total)
