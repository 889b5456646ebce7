"""The CPU of load processes, wherever they run, counts as that of the client."""

import pytest

from triton_kit.loadtest.net.clock import NS_PER_S
from triton_kit.loadtest.record.cpu import CpuSample, CpuUse, CpuWatch, cpu_between
from triton_kit.loadtest.record.process_cpu import (
    CpuTime,
    LoadProcess,
    ProcessUse,
    own_cpu_time,
)
from triton_kit.loadtest.record.resources import ResourceHistory


def process(at_s, spent_s, name="load process 1", is_here=True):
    return LoadProcess(name, CpuTime(round(at_s * NS_PER_S), spent_s), is_here)


def sample(at_s, own_s, *processes, machine_s=0.0):
    at_ns = round(at_s * NS_PER_S)
    return CpuSample(at_ns, machine_s, 0.0, own_s, None, processes)


def test_the_cpu_time_of_this_process_grows_with_its_work():
    before = own_cpu_time()
    sum(range(1_000_000))
    now = own_cpu_time()

    assert now.spent_s > before.spent_s
    assert now.at_ns > before.at_ns


def test_the_client_is_all_processes_and_the_busiest_is_named():
    remote = "load process 2 on node b"
    used = cpu_between(
        sample(10, 1.0, process(10, 5.0), process(10, 7.0, remote, is_here=False)),
        sample(12, 1.2, process(12, 6.0), process(12, 8.9, remote, is_here=False)),
    )

    assert used.client_s == pytest.approx(0.2 + 1.0 + 1.9)
    assert used.client_cores == pytest.approx(1.55)
    assert used.process_cores == pytest.approx((0.5, 0.95))
    assert (used.busiest.name, used.busiest_cores) == (remote, pytest.approx(0.95))


def test_a_client_of_one_process_is_its_own_busiest():
    used = CpuUse(2.0, 1.0, 0.5, None)

    assert (used.busiest.name, used.busiest_cores) == ("the client", 0.25)


def test_the_collecting_process_may_be_the_busiest():
    used = CpuUse(1.0, 1.0, 0.95, None, (ProcessUse("load process 1", 0.5),))

    assert used.busiest.name == "the process that collects the results"


def test_cpu_of_another_machine_is_not_taken_from_that_of_this_one():
    both = ProcessUse("1", 0.4), ProcessUse("2", 0.9, is_here=False)
    used = CpuUse(1.0, 1.0, 0.1, 0.2, both)

    assert used.client_here_s == pytest.approx(0.5)
    assert used.foreign_cores == pytest.approx(0.3)


def test_a_report_that_came_before_the_sample_stands_for_the_time_since():
    early, late = process(10.0, 1.0), process(10.9, 1.45)

    assert late.use_since(early, 1.0).spent_s == pytest.approx(0.5)
    assert early.use_since(early, 1.0).spent_s == 0  # no report in between


def test_each_point_has_the_cpu_of_load_processes():
    """Reports are 0.1 s old at each sample but the first, before which they wait."""
    samples = [sample(0, 0.0, process(0, 2.0))]
    samples += [
        sample(at_s, 0.1 * at_s, process(at_s - 0.1, 2 + 0.5 * (at_s - 0.1)))
        for at_s in (1, 2, 3)
    ]
    history = ResourceHistory(CpuWatch([]), samples[0])
    for each in samples[1:]:
        history.add(each, cost_ns=0)

    cores = [point.client_cores for point in history.points(0, None)]
    assert cores == pytest.approx([0.6, 0.6, 0.6])


def test_samples_begin_when_load_processes_do():
    watch = CpuWatch([], lambda: [process(0, 1.0)])
    history = ResourceHistory(watch, watch.sample())
    start_ns = history.first.at_ns + 20_000_000

    history.await_begin(start_ns)

    assert history.first.at_ns >= start_ns


def test_without_load_processes_the_samples_begin_before_the_load():
    watch = CpuWatch([])
    first = watch.sample()
    history = ResourceHistory(watch, first)

    history.await_begin(first.at_ns + NS_PER_S)

    assert history.first is first
