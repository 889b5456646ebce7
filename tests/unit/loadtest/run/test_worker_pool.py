"""How the parent handles the events of its workers, which are real processes."""

import os
import signal
from contextlib import contextmanager

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.process_cpu import CpuTime
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.pooled_loop import PooledLoop
from triton_kit.loadtest.run.worker_process import collect, start_worker

WITHIN_S = 60.0
START = """
import sys
from multiprocessing.connection import Connection
import numpy as np
from triton_kit.loadtest.record.process_cpu import CpuTime, own_cpu_time
from triton_kit.loadtest.record.recorder import Recorder, Recording, Snapshot
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run import messages
parent = Connection(int(sys.argv[1]))
"""
LARGE = """
recorder = Recorder(keep_times=True)
for start in range(100_000):
    recorder.times += [start, start + 1, start + 2, start + 3]
recorder.keep_response_times([1, 2, 3])
recorder.response(123)
recorder.fail(Failure("timeout", "late"))
parent.send(messages.Counts(1, 1, 0, None, CpuTime()))
snapshot = Snapshot(recorder.take(), (Recording(),))
parent.send(messages.Taken(snapshot, 3, own_cpu_time()))
parent.recv()
parent.send(messages.Failed("SpecError", "wrong", "right"))
"""
COUNTING = """
while True:
    if isinstance(parent.recv(), messages.Expire):
        parent.send(messages.Counts(7, 7, 0, None, own_cpu_time()))
    else:
        parent.send(messages.Taken(Snapshot(Recording()), None, own_cpu_time()))
"""
SLOW = """
first, again, snapshot = parent.recv(), parent.recv(), parent.recv()
parent.send(messages.Done(first.round))
parent.send(messages.Taken(Snapshot(Recording()), None, own_cpu_time()))
parent.recv()
"""


@contextmanager
def working(script, log):
    share = WorkerShare()
    with start_worker(share, log, "-c", START + script) as worker:
        yield worker


def test_a_large_snapshot_arrives_whole_and_errors_are_raised(tmp_path):
    with working(LARGE, tmp_path / "log") as worker:
        taken = collect([worker], messages.Taken, within_s=WITHIN_S)[0]
        recording, parts = taken.snapshot.whole, taken.snapshot.parts

        assert taken.sent == 3
        assert recording.times[0].shape == (100_000, 4)
        assert recording.latency.count == 100_000
        assert recording.latency.max_ns == 3
        assert recording.responded_at[0].tolist() == [1, 2, 3]
        assert recording.errors["timeout"].example == "late"
        assert len(parts) == 1
        assert worker.take(messages.Counts) == [
            messages.Counts(1, 1, 0, None, CpuTime())
        ]
        worker.send(messages.TakeSnapshot())
        with pytest.raises(SpecError, match="wrong"):
            collect([worker], messages.Taken, within_s=WITHIN_S)
        assert collect([worker], messages.Taken, within_s=WITHIN_S) == {}
        assert "was lost: exit code 0" in worker.lost.message


def test_a_worker_far_away_is_asked_for_its_counts_less_often(tmp_path):
    with working(COUNTING, tmp_path / "log") as worker, Reactor() as reactor:
        never_ns = 2 * now_ns()  # the clock begins with the machine's start
        often = PooledLoop(reactor, [worker], is_open=False)
        seldom = PooledLoop(reactor, [worker], is_open=False, expire_every_ns=never_ns)
        for loop, count in ((often, 3), (seldom, 1)):
            for _ in range(3):
                loop.expire(0, Failure("timeout"))
            worker.send(messages.TakeSnapshot())
            collect([worker], messages.Taken, within_s=WITHIN_S)
            assert len(worker.take(messages.Counts)) == count


def test_counts_start_anew_after_a_snapshot(tmp_path):
    with working(COUNTING, tmp_path / "log") as worker, Reactor() as reactor:
        loop = PooledLoop(reactor, [worker], is_open=False)
        loop.expire(0, Failure("timeout"))

        loop.take_snapshot()

        assert loop.ended == 0


def test_a_slow_worker_may_be_asked_twice_to_end_its_sequences(tmp_path):
    with working(SLOW, tmp_path / "log") as worker, Reactor() as reactor:
        loop = PooledLoop(reactor, [worker], is_open=False)
        loop.end_sequences()
        loop.end_sequences()

        loop.take_snapshot()
        was_done = loop.is_done
        loop.end_sequences()

        assert was_done
        assert not loop.is_done  # sequences that are left are waited for


def test_the_cpu_time_of_a_killed_process_is_what_it_had_reported(tmp_path):
    with working(COUNTING, tmp_path / "log") as worker, Reactor() as reactor:
        loop = PooledLoop(reactor, [worker], is_open=False)
        loop.take_snapshot()
        before = worker.load_process.cpu
        os.kill(worker.pid, signal.SIGKILL)
        collect([worker], messages.Taken, within_s=WITHIN_S)
        after = worker.load_process

    assert worker.lost is not None
    assert after.name == "load process 1"
    assert after.cpu.spent_s == before.spent_s > 0
    assert after.cpu.at_ns > before.at_ns  # and it uses none since
