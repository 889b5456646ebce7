"""A client and a server on some cores: other cores are no part of their machine."""

import os
import subprocess

import psutil
import pytest

from triton_kit.loadtest.record.cpu import CpuWatch, cpu_between

ALL = sorted(os.sched_getaffinity(0))

pytestmark = pytest.mark.skipif(
    len(ALL) < 2 or len(ALL) < (os.cpu_count() or 1), reason="needs cores to leave out"
)


@pytest.fixture
def server():
    """A process that stands for the server."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def on_one_core():
    os.sched_setaffinity(0, ALL[:1])
    yield
    os.sched_setaffinity(0, ALL)


def worked_s():
    spent = psutil.cpu_times(percpu=True)[ALL[0]]
    return spent.user + spent.nice + spent.system + spent.irq + spent.softirq


def test_only_the_cores_of_both_count(server, on_one_core):
    os.sched_setaffinity(server.pid, ALL[:1])
    watch = CpuWatch([], server_pid=server.pid)
    before = worked_s()
    sample = watch.sample()
    after = worked_s()

    assert sample.cores == 1
    assert before <= sample.machine_s - sample.stolen_s <= after + 1e-6
    assert cpu_between(sample, watch.sample()).cores == 1


def test_all_cores_count_where_the_server_may_use_them(server, on_one_core):
    os.sched_setaffinity(server.pid, ALL)

    assert CpuWatch([], server_pid=server.pid).sample().cores == len(ALL)


def test_all_cores_count_where_the_server_is_not_known(on_one_core):
    assert CpuWatch([]).sample().cores == len(ALL)
