"""What an executor costs a closed loop: its throughput, and its CPU per request."""

import os
import random
import statistics

import psutil

from triton_kit.execute.cluster import ExecutorChoice
from triton_kit.execute.cores import own_cores
from triton_kit.execute.ray_load import ray_workers
from triton_kit.loadtest.loops.load import ClosedLoad
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec

CONCURRENCY = 8
FEW = 4
DRAWS = 10_000


def on_its_own_cores(server, count=None):
    """Give the server so many cores, or a quarter of all; everything else the others.

    Processes that are started from now on, a cluster's too, inherit that. The other
    hardware thread of the server's last core has nothing to do where cores are many.
    """
    cores = own_cores()
    count = count or max(1, len(cores) // 4)
    idle = count % 2 if len(cores) > FEW else 0
    process = psutil.Process(server.pid)
    for thread in process.threads():
        os.sched_setaffinity(thread.id, cores[:count])
    os.sched_setaffinity(0, cores[count + idle :])


def overhead_of_load(server, rounds, seconds, processes):
    """Yield a row for each round, in alternating order, and the ratios in the end.

    `cpu_us` is what the load processes use for a request, without `perf` and Ray.
    """
    spec = PerfSpec(
        url=server.http_url,
        model="mlp",
        loads=(ClosedLoad(CONCURRENCY),),
        measurement_interval_s=seconds,
        processes=processes,
    )
    starts = {"local": None, "ray": ray_workers(ExecutorChoice("ray"))}
    ratios = {"throughput": [], "cpu_us": []}
    for number in range(rounds):
        found = {}
        for name in sorted(starts, reverse=number % 2 == 1):
            [run] = measure(spec, workers=starts[name]).runs
            cpu_us = 1e6 * sum(run.cpu.process_cores) / run.throughput
            found[name] = {"throughput": run.throughput, "cpu_us": cpu_us}
        for figure, each in ratios.items():
            each.append(found["ray"][figure] / found["local"][figure])
        yield {"round": number} | found
    for figure, each in ratios.items():
        yield {"ratio of": figure, "median": statistics.median(each)} | {
            "interval": interval(each)
        }


def interval(values):
    """Return the 95 % interval of a median, by bootstrap."""
    chance = random.Random(0)
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values))) for _ in range(DRAWS)
    )
    return medians[DRAWS // 40], medians[-DRAWS // 40]
