"""Load and builds beyond one process. Usage: scripts/bench scale PART [ARGS].

rates: one rate sent by 1, 2 and 4 processes of a cluster, with the CPU cores that the
cost per request of one process predicts. kills: SIGKILL of a load process at a random
time, again and again. build: 12 networks with 1 and 2 jobs, here or on a cluster's
nodes. fleet: the simulated p99 of a fleet by the balancer's policy. overhead: what an
executor costs a task beyond its start, a closed loop (load), or one beside a closed
loop without it (loads; with `--executor local` two that are alike). Each prints lines
of JSON.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import onnx
import psutil
from fleet import POLICIES, Fleet, simulate
from load_overhead import (
    CONCURRENCY,
    on_its_own_cores,
    overhead_of_load,
    side_by_side,
)
from onnx import helper, numpy_helper
from task_overhead import overhead_of_tasks

from triton_kit.execute.cluster import ExecutorChoice
from triton_kit.execute.ray_load import ray_workers
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

sys.path.append(str(Path(__file__).parents[1] / "tune"))
from models import write_nap

MODELS = Path(__file__).parents[2] / "server" / "perf_models"
WIDTH = 256
STORE_BYTES = 80_000_000


@contextmanager
def nodes():
    """A cluster of two nodes with two CPUs each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = Cluster()
    started.add_node(
        num_cpus=2, object_store_memory=STORE_BYTES, include_dashboard=False
    )
    started.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
    os.environ["RAY_ADDRESS"] = started.address
    try:
        yield
    finally:
        started.shutdown()


@contextmanager
def serving(model="mlp"):
    """Serve one model; `nap` sleeps, in as many instances as there are requests."""
    with tempfile.TemporaryDirectory() as folder:
        if model == "nap":
            write_nap(Path(folder), instances=CONCURRENCY)
        repository = Path(folder) if model == "nap" else MODELS
        spec = ServeSpec(
            repository=repository, model_control="explicit", models=(model,)
        )
        with running(spec) as server:
            yield server


@contextmanager
def cluster():
    """The nodes, and a server beside them."""
    with nodes(), serving() as server:
        yield server


def measured(server, rate_hz, on_progress=None, **changes):
    spec = PerfSpec(
        url=server.http_url, model="mlp", loads=(RateLoad(rate_hz=rate_hz),), **changes
    )
    workers = ray_workers(ExecutorChoice("ray"))
    return measure(spec, on_progress, workers=workers)


def rates(arguments):
    costs = []
    with cluster() as server:
        for processes in (1, 2, 4):
            result = measured(server, arguments.rate, processes=processes)
            [run] = result.runs
            costs.append(run.client_cpu_us_per_request)
            predicted_cores = run.send_rate * costs[0] / 1e6
            yield {
                "processes": processes,
                "rate": run.send_rate / arguments.rate,
                "client_us": costs[-1],
                "cores": run.cpu.client_cores,
                "predicted_cores": predicted_cores,
                "busy": run.cpu.process_cores,
                "predicted_busy": predicted_cores / processes,
                "perf_cores": run.cpu.own_s / run.cpu.length_s,
                "sent": run.total,
                "p50_us": run.recording.latency.quantile_ns(0.5) / 1e3,
                "p99_us": run.recording.latency.quantile_ns(0.99) / 1e3,
                "lag_p99_us": run.recording.lag.quantile_ns(0.99) / 1e3,
            }


def kills(arguments):
    chance = random.Random(arguments.seed)
    length_s = 4
    count = round(arguments.rate * length_s)
    with cluster() as server:
        for number in range(arguments.kills):
            at_s = chance.uniform(0.05, 0.9) * length_s
            timers = []

            def kill(progress, at_s=at_s, timers=timers):
                # Counts come too seldom to kill at a random time by them.
                begun_s = progress.status.ended / arguments.rate
                if begun_s and not timers:
                    timers.append(threading.Timer(max(0, at_s - begun_s), kill_one))
                    timers[0].start()

            result = measured(
                server, arguments.rate, kill, processes=2, request_count=count
            )
            recording = result.runs[0].recording
            yield {
                "kill": number,
                "at_s": at_s,
                "adds_up": recording.succeeded + recording.failed == count,
                "not_sent": recording.errors["not sent"].count,
                "named": [w["lost"] for w in result.environment["workers"]],
            }


def kill_one():
    os.kill(load_process(), signal.SIGKILL)


def load_process():
    for process in psutil.process_iter(["cmdline"]):
        if "triton_kit.loadtest.run.worker" in (process.info["cmdline"] or []):
            return process.pid
    raise LookupError("no load process runs")


def build(arguments):
    there = nodes() if arguments.executor == "ray" else nullcontext()
    with tempfile.TemporaryDirectory() as name, there:
        folder = Path(name)
        write_project(folder, arguments.models)
        for number in range(arguments.rounds):
            times = {}
            for jobs in (1, 2) if number % 2 == 0 else (2, 1):
                words = [sys.executable, "-m", "triton_kit", "build", name]
                words += ["--no-cache", "-q", "-j", str(jobs)]
                words += ["--executor", arguments.executor or "local"]
                words += ["-o", str(folder / f"out{number}-{jobs}")]
                started_s = time.monotonic()
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
                times[jobs] = time.monotonic() - started_s
            yield {"round": number, "seconds": times, "ratio": times[1] / times[2]}


def write_project(folder, models):
    random_values = np.random.default_rng(0)
    lines = ["name: many", "models:"]
    for model in range(models):
        nodes, weights, value = [], [], "x"
        for layer in range(4):
            array = random_values.standard_normal((WIDTH, WIDTH)).astype(np.float32)
            weights.append(numpy_helper.from_array(array / 16, f"w{layer}"))
            nodes.append(
                helper.make_node("MatMul", [value, f"w{layer}"], [f"h{layer}"])
            )
            nodes.append(helper.make_node("Relu", [f"h{layer}"], [f"r{layer}"]))
            value = f"r{layer}"
        nodes.append(helper.make_node("Identity", [value], ["y"]))
        ends = [helper.make_tensor_value_info(n, 1, ["n", WIDTH]) for n in "xy"]
        graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
        opset = [helper.make_opsetid("", 18)]
        network = helper.make_model(graph, opset_imports=opset, ir_version=9)
        onnx.save(network, folder / f"net{model}.onnx")
        precision = ("fp32", "fp16")[model % 2]
        batching = "batching: {max_batch_size: 8}"
        source = f"source: net{model}.onnx"
        lines.append(f"  net{model}: {{{source}, {batching}, precision: {precision}}}")
    (folder / "triton-kit.yaml").write_text("\n".join(lines) + "\n")


def fleet(arguments):
    service_s = np.random.default_rng(1).lognormal(np.log(0.004), 0.3, 10_000)
    capacity_hz = arguments.nodes / service_s.mean()
    for policy in POLICIES:
        for use in (0.5, 0.7, 0.9):
            nodes = Fleet(nodes=arguments.nodes, instances=1, policy=policy)
            latencies = simulate(nodes, use * capacity_hz, service_s)
            p50, p99 = np.quantile(latencies, (0.5, 0.99)) * 1e3
            yield {"policy": policy, "use": use, "p50_ms": p50, "p99_ms": p99}


def overhead(arguments):
    # What the tasks call is beside this file.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    if arguments.of == "tasks":
        with cluster(), tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            yield from overhead_of_tasks(arguments.rounds, arguments.tasks)
        return
    with serving(arguments.model) as server:
        on_its_own_cores(server, arguments.server_cores)
        each = arguments.rounds, arguments.seconds, arguments.processes
        with nodes():
            if arguments.of == "load":
                yield from overhead_of_load(server, arguments.model, *each)
            else:
                executor = arguments.executor or "ray"
                yield from side_by_side(server, arguments.model, *each, executor)


PARTS = {
    "rates": rates,
    "kills": kills,
    "build": build,
    "fleet": fleet,
    "overhead": overhead,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rate", type=float, default=400.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--of", choices=("tasks", "load", "loads"), default="tasks")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--server-cores", type=int)
    parser.add_argument("--model", choices=("mlp", "nap"), default="mlp")
    parser.add_argument("--executor", choices=("local", "ray"))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for row in PARTS[arguments.part](arguments):
        print(json.dumps(row), flush=True)


main()
