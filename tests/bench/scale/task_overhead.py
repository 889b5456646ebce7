"""What a task costs beyond its start: empty, and with the files of a conversion."""

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from triton_kit.execute.cluster import ExecutorChoice, connected
from triton_kit.execute.local_tasks import local_executor
from triton_kit.execute.parcel import Parcel, digest_of_file
from triton_kit.execute.ray_hosts import TaskHost
from triton_kit.execute.ray_tasks import ray_executor
from triton_kit.execute.sending import FileSender
from triton_kit.execute.store import Store
from triton_kit.execute.tasks import Task

NETWORK_BYTES = 262_144
MODULES = ("task_functions",)


def overhead_of_tasks(rounds, tasks):
    """Yield the milliseconds per task, from the first outcome to the last, by round."""
    executors = {
        "local": partial(local_executor, 1),
        "ray": partial(ray_executor, ExecutorChoice("ray"), 1),
    }
    found = {(kind, name): [] for kind in ("empty", "files") for name in executors}
    for number in range(rounds):
        for kind, name in sorted(found, reverse=number % 2 == 1):
            with tempfile.TemporaryDirectory() as folder:
                once_ms = milliseconds(executors[name], kind, tasks, Path(folder))
            found[kind, name].append(once_ms)
    found["send", "ray"] = [sending(tasks) for _ in range(rounds)]
    found["bytes there and back", "Ray by itself"] = [
        by_itself(tasks) for _ in range(rounds)
    ]
    for (kind, name), times in found.items():
        yield {
            "task": kind,
            "executor": name,
            "median_ms": statistics.median(times),
            "least_ms": min(times),
            "most_ms": max(times),
        }


def milliseconds(open_executor, kind, count, folder):
    """Run tasks one after another; each has a network of its own."""
    contents, parcels = {}, []
    for number in range(count if kind == "files" else 0):
        path = folder / f"{number}.onnx"
        path.write_bytes(os.urandom(NETWORK_BYTES))
        parcels.append(Parcel({"net.onnx": digest_of_file(path)}))
        contents[parcels[-1].digests["net.onnx"]] = path
    call = "empty" if kind == "empty" else "carry"
    tasks = [
        Task(name=str(n), call=f"task_functions:{call}", argument=argument)
        for n, argument in enumerate(parcels or [None] * count)
    ]
    with open_executor(MODULES) as executor:
        executor.offer(contents)
        if executor.has_our_files:
            for digest, path in contents.items():
                Store().receive(digest, path.read_bytes())
        ends_s = []
        for outcome in executor.run(tasks):
            if outcome.value is not None:
                outcome.value.unpack("net", folder / f"back{outcome.index}")
            ends_s.append(time.perf_counter())
    return (ends_s[-1] - ends_s[0]) / (count - 1) * 1e3


class Echo:
    """Returns what it gets; a method that does nothing waits for its start."""

    def ready(self):
        pass

    def echo(self, content):
        return content


def by_itself(count):
    """Return the milliseconds of a call with a network's bytes, without the kit."""
    content = os.urandom(NETWORK_BYTES)
    with connected(ExecutorChoice("ray")) as ray:
        actor = ray.remote(Echo).options(scheduling_strategy="SPREAD").remote()
        ray.get(actor.ready.remote())
        begin_s = time.perf_counter()
        for _ in range(count):
            ray.get(actor.echo.remote(content))
        took_s = time.perf_counter() - begin_s
        ray.kill(actor)
    return took_s / count * 1e3


def sending(count):
    """Return the milliseconds for each of several networks that a node lacks."""
    with (
        tempfile.TemporaryDirectory() as folder,
        connected(ExecutorChoice("ray")) as ray,
    ):
        contents = {}
        for number in range(count):
            path = Path(folder, f"{number}.onnx")
            path.write_bytes(os.urandom(NETWORK_BYTES))
            contents[digest_of_file(path)] = path
        host = ray.remote(TaskHost).options(scheduling_strategy="SPREAD").remote(())
        ray.get(host.missing.remote([]))
        begin_s = time.perf_counter()
        FileSender(ray, contents).send(host, ray.get)
        took_s = time.perf_counter() - begin_s
        ray.kill(host)
    return took_s / count * 1e3
