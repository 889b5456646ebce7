"""`scripts/bench native`: a soak of the native onnxruntime backend.

Threads send random requests, some of which fail, to models that stay, while others are
loaded, asked and unloaded without end. It holds if every response is right, the
server's counts are those of the clients, and memory stays flat.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import tritonclient.http as client_library
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

sys.path.append(str(Path(__file__).parents[2] / "server"))
from onnx_models import accumulate, affine, convolve, large, lookup, mix, ragged
from test_native_backend import RAGGED, STATE

from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

JOIN = "max_batch_size: 8\ndynamic_batching { }\n"
TWO = JOIN + "instance_group { count: 2 kind: KIND_CPU }\n"
STAY = {
    "affine": (affine(), TWO),
    "convolve": (convolve(), JOIN),
    "lookup": (lookup(), JOIN),
    "mix": (mix(), TWO),
    "ragged": (ragged(), RAGGED + "dynamic_batching { }\n"),
}
GO = {
    "large": (large(), "max_batch_size: 8\n"),
    "state": (accumulate(), STATE.replace("STRATEGY", "oldest {}")),
    "visitor": (affine(), TWO),
}
SETTLES_S = 60
REST_S = 0.2  # of a sequence model before it is unloaded
GROWTH_BYTES = 48 << 20


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench native", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench-native"))
    return parser.parse_args()


def draw(rng, model):
    """Return random inputs, and the outputs they shall have; None: a failure."""
    rows, width = int(rng.integers(1, 6)), int(rng.integers(1, 2000))
    if model == "lookup":
        x = rng.integers(0, 12, (rows, 1))
        return {"x": x}, None if (x >= 10).any() else {"y": 100.0 * x}
    if model == "mix":
        a = rng.normal(size=(rows, width)).astype(np.float32)
        b = rng.integers(-9, 9, (rows, width))
        return {"a": a, "b": b}, {"product": a * b.astype(np.float32)}
    if model == "ragged":
        x = rng.integers(-9, 9, (1, width)).astype(np.float32)
        return {"x": x}, {"twice": 2 * x}
    if model == "convolve":
        return {"x": rng.normal(size=(rows, 3, 8, 8)).astype(np.float32)}, {}
    if model == "large":
        return {"x": np.ones((rows, 2048), np.float32)}, {"y": np.zeros((rows, 2048))}
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    return {"x": x}, {"y": 2 * x + 1}


class Soak:
    """What all threads share."""

    def __init__(self, server, seed, ends_s):
        self.server, self.seed, self.ends_s = server, seed, ends_s
        self.address = server.http_url.removeprefix("http://")
        self.lock = threading.Lock()
        self.counts = {model: Counter() for model in STAY}
        self.cycles, self.faults = 0, []

    def note(self, model, kind):
        with self.lock:
            self.counts[model][kind] += 1

    def fault(self, text):
        with self.lock:
            self.faults.append(text)


def ask(client, model, inputs, **options):
    tensors = []
    for name, array in inputs.items():
        kind = np_to_triton_dtype(array.dtype)
        tensors.append(client_library.InferInput(name, array.shape, kind))
        tensors[-1].set_data_from_numpy(array)
    return client.infer(model, tensors, **options)


def check(soak, model, result, expected):
    for name, array in expected.items():
        if not np.allclose(result.as_numpy(name), array, rtol=1e-5, atol=1e-5):
            soak.fault(f"{model}: {name} is wrong")


def send(soak, number):
    """Send random requests to the models that stay."""
    rng = np.random.default_rng([soak.seed, number])
    names = list(STAY)
    with client_library.InferenceServerClient(
        soak.server.http_url.removeprefix("http://")
    ) as client:
        while time.monotonic() < soak.ends_s:
            model = names[rng.integers(len(names))]
            inputs, expected = draw(rng, model)
            try:
                result = ask(client, model, inputs)
            except InferenceServerException as error:
                # Requests that were joined with one at fault do not fail with it.
                if expected is not None:
                    soak.fault(f"{model}: {error}")
                soak.note(model, "failed")
                continue
            if expected is None:
                soak.fault(f"{model}: a wrong request succeeded")
            else:
                check(soak, model, result, expected)
            soak.note(model, "succeeded")


def come_and_go(soak):
    """Load a model, ask it, unload it, without end."""
    rng = np.random.default_rng([soak.seed, 99])
    control = soak.server.control
    with client_library.InferenceServerClient(
        soak.server.http_url.removeprefix("http://")
    ) as client:
        while time.monotonic() < soak.ends_s:
            model = random.Random(int(rng.integers(1 << 30))).choice(list(GO))
            control.load(model)
            for step in range(int(rng.integers(0, 5))):
                if model == "state":
                    inputs = {"x": np.ones((1, 2), np.float32)}
                    marks = {"sequence_id": 7, "sequence_start": step == 0}
                    expected = {"y": np.full((1, 2), step + 1)}
                    check(soak, model, ask(client, model, inputs, **marks), expected)
                else:
                    inputs, expected = draw(rng, model)
                    check(soak, model, ask(client, model, inputs), expected)
            if model == "state":  # the server's own fault: docs/serve.md, 24.10
                time.sleep(REST_S)
            control.unload(model)
            while control.is_model_ready(model):
                time.sleep(0.002)
            soak.cycles += 1


def guarded(soak, work, *arguments):
    try:
        work(soak, *arguments)
    except Exception as error:  # one thread's end shall not end the soak
        soak.fault(f"{work.__name__} ended: {type(error).__name__}: {error}")


def compare_counts(soak):
    """Compare the server's counts with the clients'."""
    control = soak.server.control
    deadline_s = time.monotonic() + 10
    for model, counts in soak.counts.items():
        wanted = (counts["succeeded"], counts["failed"])
        found = None
        while found != wanted and time.monotonic() < deadline_s:
            [stats] = control.statistics(model)
            kinds = stats["inference_stats"]
            found = (kinds["success"]["count"], kinds["fail"]["count"])
        if found != wanted:
            soak.fault(f"{model}: the server counted {found}, the clients {wanted}")


def watch(soak, process):
    """Return seconds and bytes of the server's memory until the end."""
    began_s, found = time.monotonic(), []
    while time.monotonic() < soak.ends_s:
        time.sleep(2)
        memory = process.memory_info().rss
        found.append((round(time.monotonic() - began_s), memory))
    return found


def growth(memory, minutes):
    """Return how far the lowest memory of the last third is above the first third's."""
    settled = [b for at_s, b in memory if at_s > min(SETTLES_S, minutes * 20)]
    third = max(1, len(settled) // 3)
    return min(settled[-third:]) - min(settled[:third])


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, (graph, config) in (STAY | GO).items():
            version = Path(folder) / name / "1"
            version.mkdir(parents=True)
            (version / "model.onnx").write_bytes(graph)
            text = f'backend: "onnxruntime"\n{config}'
            (version.parent / "config.pbtxt").write_text(text)
        spec = ServeSpec(
            repository=Path(folder),
            onnxruntime_backend="native",
            model_control="explicit",
            models=tuple(STAY),
        )
        server = stack.enter_context(running(spec))
        soak = Soak(server, options.seed, time.monotonic() + options.minutes * 60)
        jobs = [(send, number) for number in range(options.senders)] + [(come_and_go,)]
        threads = [threading.Thread(target=guarded, args=(soak, *job)) for job in jobs]
        for thread in threads:
            thread.start()
        process = psutil.Process(server.pid)
        memory = watch(soak, process)
        for thread in threads:
            thread.join()
        compare_counts(soak)
        threads_left = process.num_threads()
    grown = growth(memory, options.minutes)
    if grown > GROWTH_BYTES:
        soak.fault(f"memory grew by {grown / 2**20:.0f} MiB")
    report(options, soak, memory, grown, threads_left)
    sys.exit(1 if soak.faults else 0)


def report(options, soak, memory, grown, threads_left):
    total = sum((counts for counts in soak.counts.values()), Counter())
    result = {
        "minutes": options.minutes,
        "seed": options.seed,
        "requests": dict(total),
        "by_model": {model: dict(counts) for model, counts in soak.counts.items()},
        "loads_and_unloads": soak.cycles,
        "rss_mib": [[at_s, round(b / 2**20, 1)] for at_s, b in memory],
        "growth_mib": round(grown / 2**20, 1),
        "threads_at_the_end": threads_left,
        "faults": soak.faults[:20],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "soak.json").write_text(json.dumps(result) + "\n")
    shown = {name: value for name, value in result.items() if name != "rss_mib"}
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")


if __name__ == "__main__":
    main()
