"""Samples become at most 120 points; what is not known is null."""

import psutil
import pytest

from triton_kit.loadtest.net.clock import NS_PER_S
from triton_kit.loadtest.record.cpu import CpuSample, CpuWatch
from triton_kit.loadtest.record.metrics import MetricsWatch, Scrape
from triton_kit.loadtest.record.resources import MOST_POINTS, ResourceHistory

START_S = 1000
THIS = psutil.Process()


def sample(at_s, client_s=0.0, server_s=None, memory_bytes=None, machine_s=None):
    """Return a sample at a time; `server_s` is of this process."""
    servers = () if server_s is None and memory_bytes is None else (THIS,)
    return CpuSample(
        (START_S + at_s) * NS_PER_S,
        machine_s=client_s if machine_s is None else machine_s,
        stolen_s=0.0,
        own_s=client_s,
        server_s=server_s,
        servers=servers,
        server_memory_bytes=memory_bytes,
    )


def points_of(first, *samples, metrics=None):
    history = ResourceHistory(CpuWatch([]), first)
    for each in samples:
        history.add(each, cost_ns=0)
    return history.points(START_S * NS_PER_S, metrics)


@pytest.mark.parametrize("seconds", [MOST_POINTS, MOST_POINTS + 1, 1000])
def test_a_long_run_has_few_points_that_lose_no_cpu_time(seconds):
    samples = [sample(at_s, client_s=0.25 * at_s) for at_s in range(seconds + 1)]

    points = points_of(*samples)

    assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS
    assert points[-1].at_s == seconds
    assert {point.client_cores for point in points} == {0.25}


def test_a_point_has_the_cpu_since_the_one_before_and_memory_at_its_time():
    before = sample(0, client_s=1, server_s=5, memory_bytes=2**20, machine_s=10)
    now = sample(2, client_s=2, server_s=8, memory_bytes=2**22, machine_s=15)

    [point] = points_of(before, now)

    assert point.as_json() == {
        "at_s": 2.0,
        "client_cores": 0.5,
        "foreign_cores": 0.5,
        "server_cores": 1.5,
        "server_memory_mib": 4.0,
        "gpus": [],
    }


def test_a_server_elsewhere_is_unknown_and_leaves_the_rest():
    [point] = points_of(sample(0), sample(1, client_s=0.5, machine_s=0.75))

    found = point.as_json()
    assert (found["server_cores"], found["server_memory_mib"]) == (None, None)
    assert found["foreign_cores"] == 0.25


def test_the_cpu_of_a_server_that_ended_is_not_that_of_other_processes():
    before = sample(0, server_s=5, memory_bytes=2**20)
    now = CpuSample((START_S + 1) * NS_PER_S, 9.0, 0.0, 0.0, None, servers=(THIS,))

    [point] = points_of(before, now)

    assert point.server_cores is point.foreign_cores is point.server_memory_mib is None


def test_an_expensive_sample_makes_the_next_one_late():
    history = ResourceHistory(CpuWatch([]), sample(0))

    history.add(sample(1), cost_ns=NS_PER_S // 100)

    assert history.next_ns == (START_S + 11) * NS_PER_S


def test_the_last_sample_ends_the_run():
    watch = CpuWatch([])
    first = watch.sample()
    history = ResourceHistory(watch, first)

    history.note()  # too early
    history.end()
    history.end()

    [point] = history.points(first.at_ns, None)
    assert point.at_s > 0


def test_the_use_of_a_gpu_is_that_of_the_scrapes_in_between():
    gpu = (("gpu_uuid", "GPU-1"),)
    metrics = MetricsWatch("x", interval_s=1.0)
    metrics._scrapes = [
        Scrape(
            {
                ("nv_gpu_utilization", gpu): busy,
                ("nv_gpu_memory_used_bytes", gpu): used,
            },
            at_ns=round((START_S + at_s) * NS_PER_S),
        )
        for at_s, busy, used in [(0.5, 0.2, 2**20), (0.9, 0.4, 2**21), (1.5, 1, 2**22)]
    ]

    points = points_of(*map(sample, (0, 1, 2, 3, 9)), metrics=metrics)

    found = [
        [(gpu.utilization, gpu.memory_used_mib) for gpu in point.gpus]
        for point in points
    ]
    assert found == [
        [(pytest.approx(0.3), 2.0)],
        [(1, 4.0)],
        [(1, 4.0)],  # the last known
        [],  # too old
    ]
