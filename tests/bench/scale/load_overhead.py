"""What an executor costs a closed loop: its throughput, and its CPU per request."""

import math
import multiprocessing
import os
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import pairwise

import psutil

from triton_kit.execute.cluster import ExecutorChoice
from triton_kit.execute.cores import own_cores
from triton_kit.execute.ray_load import ray_workers
from triton_kit.loadtest.loops.load import ClosedLoad
from triton_kit.loadtest.net.clock import NS_PER_S
from triton_kit.loadtest.record.stability import StopRule
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec

CONCURRENCY = 8
FEW = 4
WINDOW_S = 0.5
# The second load begins so much later than the first one, at most.
LEAD_S = 3.0
START_WITHIN_S = 30.0
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


def overhead_of_load(server, model, rounds, seconds, processes):
    """Yield a row for each round, in alternating order, and the ratios in the end.

    `cpu_us` is what the load processes use for a request, without `perf` and Ray;
    `ray_cores` what the cluster uses meanwhile, beside its load processes, also where
    the load is not its own; `perf_cores` what this process uses.
    """
    spec = PerfSpec(
        url=server.http_url,
        model=model,
        loads=(ClosedLoad(CONCURRENCY),),
        measurement_interval_s=seconds,
        processes=processes,
    )
    starts = {"local": None, "ray": ray_workers(ExecutorChoice("ray"))}
    ratios = {"throughput": [], "cpu_us": []}
    for number in range(rounds):
        found = {}
        for name in sorted(starts, reverse=number % 2 == 1):
            before, began_s = cpu_of_ray(server), time.monotonic()
            [run] = measure(spec, workers=starts[name]).runs
            took_s = time.monotonic() - began_s
            cpu_us = 1e6 * sum(run.cpu.process_cores) / run.throughput
            found[name] = {
                "throughput": run.throughput,
                "cpu_us": cpu_us,
                "ray_cores": grown(before, cpu_of_ray(server)) / took_s,
                "perf_cores": run.cpu.own_s / run.cpu.length_s,
            }
        for figure, each in ratios.items():
            each.append(found["ray"][figure] / found["local"][figure])
        yield {"round": number} | found
    for figure, each in ratios.items():
        yield {"ratio of": figure, "median": statistics.median(each)} | {
            "interval": interval(each)
        }


def cpu_of_ray(server):
    """Return the CPU seconds of each process of the cluster but the load processes."""
    own, served = psutil.Process(), psutil.Process(server.pid)
    others = {server.pid, *(p.pid for p in served.children(recursive=True))}
    found = {}
    for process in own.children(recursive=True):
        with suppress(psutil.Error):
            is_load = "triton_kit.loadtest.run.worker" in process.cmdline()
            if process.pid not in others and not is_load:
                found[process.pid] = sum(process.cpu_times()[:2])
    return found


def grown(before, after):
    """Return by how much the CPU seconds of the processes that were there grew."""
    return sum(after[pid] - spent for pid, spent in before.items() if pid in after)


def side_by_side(server, model, rounds, seconds, processes, executor="ray"):
    """Yield a row for each pair of loads at once, and the ratio in the end.

    The server, and whatever disturbs it, is the same for both: from one load to the
    next its throughput varies by ten times what is looked for. A load that needs longer
    between a response and the next request gets a smaller share. The one that connects
    first gets another one, so a round is two such pairs: each load is first in one.
    With the executor `local` both are alike: the ratio is then of the method itself.
    """
    spec = PerfSpec(
        url=server.http_url,
        model=model,
        loads=(ClosedLoad(CONCURRENCY),),
        processes=processes,
        stability=StopRule(
            kind="windows",
            window_s=WINDOW_S,
            tolerance=1e-6,
            most_windows=round((LEAD_S + seconds) / WINDOW_S),
        ),
    )
    logs = []
    spawn = multiprocessing.get_context("spawn")
    connect = stay_connected if executor == "ray" else None
    with (
        spawn.Manager() as shared,
        ProcessPoolExecutor(1, spawn) as here_pool,
        ProcessPoolExecutor(1, spawn, initializer=connect) as there_pool,
    ):
        pools, executors = (here_pool, there_pool), ("local", executor)
        for pool, name in zip(pools, executors, strict=True):
            # Once alone: the first start of all takes longest.
            pool.submit(windows_of, spec, name, shared.Event()).result()
        for number in range(2 * rounds):
            begun, running = shared.Event(), {}
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                words = windows_of, spec, executors[side], begun
                running[side] = pools[side].submit(*words)
                begun.wait(START_WITHIN_S)
            both = [running[side].result() for side in (0, 1)]
            begin = max(each[0][0] for each in both)
            end = min(each[-1][1] for each in both)
            here, there = (rate_within(each, begin, end) for each in both)
            logs.append(math.log(there / here))
            yield {
                "round": number // 2,
                "seconds": (end - begin) / NS_PER_S,
                "first": "here" if number % 2 == 0 else "there",
                "here": here,
                "there": there,
            }
    ratios = [math.exp((a + b) / 2) for a, b in zip(logs[::2], logs[1::2], strict=True)]
    yield {
        "ratio of": "throughput",
        "there": executor,
        "median": statistics.median(ratios),
        "interval": interval(ratios),
    }


def stay_connected():
    """Connect this process to the cluster once for all its loads."""
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")


def windows_of(spec, executor, begun):
    """Measure a load; return the begin, the end and the rate of each window."""
    workers = ray_workers(ExecutorChoice("ray")) if executor == "ray" else None

    def tell(progress):
        if progress.status.ended:
            begun.set()

    [run] = measure(spec, tell, workers=workers).runs
    rates = [window.requests_per_s for window in run.windows]
    return [
        (*bounds, rate)
        for bounds, rate in zip(pairwise(run.boundaries_ns), rates, strict=True)
    ]


def rate_within(windows, begin, end):
    """Return the rate of the windows between two times, in requests per second.

    A window in which the other load begins or ends has requests of a load alone.
    """
    inside = [w for w in windows if begin <= w[0] and w[1] <= end]
    requests = sum(rate * (late - early) for early, late, rate in inside)
    return requests / sum(late - early for early, late, _ in inside)


def interval(values):
    """Return the 95 % interval of a median, by bootstrap."""
    chance = random.Random(0)
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values))) for _ in range(DRAWS)
    )
    return medians[DRAWS // 40], medians[-DRAWS // 40]
