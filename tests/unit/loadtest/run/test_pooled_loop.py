"""What several processes send and report, with this test at the other ends of pipes."""

import time
from multiprocessing import Pipe

import numpy as np
import pytest

from triton_kit.errors import TransportError
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.loops.loop_setup import WorkerShare
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.process_cpu import CpuTime
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.pooled_loop import PooledLoop
from triton_kit.loadtest.run.worker_process import Worker

CPU = CpuTime()


class ToldWorker(Worker):
    """A worker that sends what the test tells it to."""

    def __init__(self, index, count):
        ours, self.theirs = Pipe()
        super().__init__(WorkerShare(index, count), ours)

    def _death(self):
        return TransportError(f"load process {self.share.index + 1} was lost")


@pytest.fixture
def pool():
    """A loop of 100 requests, of two workers with 50 each."""
    workers = [ToldWorker(index, 2) for index in range(2)]
    with Reactor() as reactor:
        load = RateLoad(rate_hz=1000)
        loop = PooledLoop(reactor, workers, is_open=True, times=load.times)
        loop.begin(count=100)
        yield loop, workers
    for worker in workers:
        worker.connection.close()


def recorded(count, latency_ns=1_000):
    recording = Recording()
    recording.latency.add(np.full(count, latency_ns))
    return Snapshot(recording, {"model": [recording]})


def read(loop, *workers):
    for worker in workers:
        worker.read()
    loop.handle_events()


def test_reports_of_a_lost_worker_are_kept(pool):
    loop, (first, second) = pool
    for number in (1, 2):
        second.theirs.send(messages.Reported(recorded(10, latency_ns=number * 1_000)))
        second.theirs.send(messages.Counts(10 * number + 5, 10, 3, None, CPU))
        first.theirs.send(messages.Reported(recorded(10)))
        first.theirs.send(messages.Counts(10 * number, 10, 0, None, CPU))
        read(loop, first, second)
    assert (loop.ended, loop.peek().succeeded) == (45, 40)

    second.theirs.close()
    read(loop, second)
    assert loop.ended == 40  # of the others no process knows how they ended

    first.theirs.send(messages.Taken(recorded(30), 50, CPU))
    snapshot = loop.take_snapshot()
    whole = snapshot.whole

    assert (whole.succeeded, whole.errors["not sent"].count) == (70, 30)
    assert whole.errors["not sent"].example == "load process 2 was lost"
    assert whole.latency.max_ns == 2_000
    assert snapshot.parts["model"][0].succeeded == 70
    assert loop.peek().total == 0


def test_reports_that_wait_are_read_before_a_worker_is_lost(pool):
    loop, (first, second) = pool
    second.theirs.send(messages.Reported(recorded(20)))
    second.theirs.close()
    first.theirs.send(messages.Taken(recorded(50), 50, CPU))

    whole = loop.take_snapshot().whole

    assert (whole.succeeded, whole.errors["not sent"].count) == (70, 30)


def test_counts_are_as_old_as_their_arrival(pool):
    loop, (first, second) = pool
    begun_ns = loop.counted_ns
    second.theirs.send(messages.Reported(recorded(10)))
    read(loop, first, second)
    assert loop.counted_ns == begun_ns

    time.sleep(0.06)  # a load begins a little after it is told to
    second.theirs.send(messages.Counts(10, 10, 3, None, CPU))
    read(loop, first, second)
    assert begun_ns < loop.counted_ns <= now_ns()


def test_without_a_lost_worker_reports_and_snapshots_add_up(pool):
    loop, workers = pool
    for worker in workers:
        worker.theirs.send(messages.Reported(recorded(20)))
        worker.theirs.send(messages.Counts(20, 20, 0, None, CPU))
        worker.theirs.send(messages.Taken(recorded(30), 50, CPU))

    snapshot = loop.take_snapshot()

    assert (snapshot.whole.succeeded, snapshot.whole.errors) == (100, {})
    assert loop.ended == 0


def test_load_processes_use_no_cpu_until_they_begin(pool):
    loop, workers = pool
    for worker in workers:
        worker.theirs.send(messages.Counts(1, 1, 0, None, CpuTime(7, 1.5)))
    read(loop, *workers)
    reported = [worker.load_process.cpu for worker in workers]

    start_ns = loop.begin(count=100)

    assert reported == [CpuTime(7, 1.5)] * 2
    assert [w.load_process.cpu for w in workers] == [CpuTime(start_ns, 1.5)] * 2


def test_a_lost_load_process_keeps_its_cpu_and_uses_no_more(pool):
    loop, (first, _second) = pool
    first.theirs.send(messages.Counts(1, 1, 0, None, CpuTime(7, 1.5)))
    first.theirs.close()
    read(loop, first)

    early, late = first.load_process, first.load_process

    assert early.cpu.spent_s == 1.5
    assert early.cpu.at_ns > 7
    assert late.use_since(early, 1.0).spent_s == 0
