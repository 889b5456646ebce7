"""Throughput and CPU of load clients, ours and perf_analyzer's, side by side.

Every client is a child process, watched from outside in the same way: requests from the
server's own counter, CPU from /proc, over the same stretch of its steady state. Rounds
are interleaved. The CPU that neither client nor server used is shown with each figure.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from onnx import TensorProto, checker, helper, numpy_helper, save
from perf_analyzer import install

from triton_kit.serve.embedded import running
from triton_kit.serve.spec import ServeSpec

CONFIG = """
backend: "onnxruntime"
max_batch_size: 64
input [ { name: "x" data_type: TYPE_FP32 dims: [ 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 8 ] } ]
dynamic_batching { }
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
GOALS = {  # (protocol, concurrency): throughput at least, CPU per request at most
    ("grpc", 1): (1.0, 2 / 3),
    ("grpc", 16): (1.5, 1 / 4),
    ("grpc", 64): (2.0, 1 / 7),
    ("http", 16): (1.4, 1 / 3),
    ("http", 64): (1.7, 1 / 4),
}
SETTLE_S = 0.8
WINDOW_S = 1.5
QUIET_CORES = 0.25
CALM_WITHIN_S = 10.0


@dataclass
class Sample:
    """One client over one stretch of time."""

    rps: float
    cpu_us: float
    foreign: float


def write_model(repository):
    """An MLP 16 -> 64 -> 8 in ONNX."""
    generator = np.random.default_rng(0)
    first = generator.standard_normal((16, 64), dtype=np.float32)
    second = generator.standard_normal((64, 8), dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "w2"], ["y"]),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    checker.check_model(model)
    (repository / "mlp" / "1").mkdir(parents=True)
    save(model, repository / "mlp" / "1" / "model.onnx")
    (repository / "mlp" / "config.pbtxt").write_text(CONFIG)


def answered(server):
    """Requests that the server has answered well so far, by its own count."""
    url = f"{server.http_url}/v2/models/mlp/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        stats = json.load(answer)["model_stats"][0]
    return stats["inference_stats"]["success"]["count"]


def cpu_s(pid):
    """CPU seconds of a process and its children."""
    process = psutil.Process(pid)
    spent = 0.0
    for member in [process, *process.children(recursive=True)]:
        times = member.cpu_times()
        spent += times.user + times.system
    return spent


def machine_s():
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


def wait_until_calm():
    """Give others' work a chance to end; measured anyway when it does not."""
    deadline = time.monotonic() + CALM_WITHIN_S
    while time.monotonic() < deadline:
        before = machine_s()
        time.sleep(0.5)
        if (machine_s() - before) / 0.5 < QUIET_CORES:
            return


def watch(server, argv, env):
    """Run a client, and watch its steady state from outside."""
    idle = answered(server)
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        deadline = time.monotonic() + 30
        while answered(server) < idle + 20:
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the client did not start: {' '.join(argv)}")
            time.sleep(0.05)
        time.sleep(SETTLE_S)
        start = time.monotonic(), answered(server), cpu_s(child.pid)
        others = machine_s(), cpu_s(server.pid)
        time.sleep(WINDOW_S)
        end = time.monotonic(), answered(server), cpu_s(child.pid)
        others_end = machine_s(), cpu_s(server.pid)
        child.terminate()
    length_s, requests, spent = (b - a for a, b in zip(start, end, strict=True))
    machine, of_server = (b - a for a, b in zip(others, others_end, strict=True))
    return Sample(
        rps=requests / length_s,
        cpu_us=spent / max(requests, 1) * 1e6,
        foreign=max((machine - of_server - spent) / length_s, 0.0),
    )


def clients(server, protocol, concurrency, pa, bodies):
    """Return name -> argv of the clients for one case."""
    url = server.grpc_url if protocol == "grpc" else server.http_url
    bare = url.removeprefix("http://")
    analyzer = [str(pa), "-m", "mlp", "-i", protocol, "-u", bare, "-p", "1000"]
    analyzer += ["--concurrency-range", f"{concurrency}:{concurrency}", "-s", "999"]
    analyzer += ["-r", "4", "--percentile", "99"]
    kit = [str(Path(sys.executable).with_name("triton-kit")), "perf", "-m", "mlp"]
    kit += ["-i", protocol, "-u", url, "-p", "4000"]
    kit += ["--concurrency-range", str(concurrency)]
    found = {"pa sync": [*analyzer, "--sync"], "pa async": [*analyzer, "--async"]}
    found |= reference(server, protocol, concurrency, bodies)
    return found | {"triton-kit": kit}


def reference(server, protocol, concurrency, bodies):
    """wrk and h2load, which only write and read, where they are installed."""
    if protocol == "http" and shutil.which("wrk"):
        target = f"{server.http_url}/v2/models/mlp/infer"
        argv = ["wrk", "-t1", f"-c{concurrency}", "-d4", "-s", str(bodies / "wrk.lua")]
        return {"wrk": [*argv, target]}
    if protocol == "grpc" and shutil.which("h2load"):
        target = f"http://{server.grpc_url}/inference.GRPCInferenceService/ModelInfer"
        argv = ["h2load", "-t1", "-c1", f"-m{concurrency}", "-D4", "--warm-up-time=0"]
        argv += ["-d", str(bodies / "grpc.bin"), "-H", "te: trailers"]
        return {"h2load": [*argv, "-H", "content-type: application/grpc", target]}
    return {}


def write_bodies(server, folder):
    """The same request for wrk and h2load."""
    from triton_kit.perf.address import Address
    from triton_kit.perf.control_http import HttpControl
    from triton_kit.perf.spec import PerfSpec
    from triton_kit.perf.wire.grpc_status import framed
    from triton_kit.perf.wire.kserve_grpc import infer_message
    from triton_kit.perf.wire.kserve_http import infer_request

    address = PerfSpec(url=server.http_url, model="mlp").address
    model = HttpControl(address).model("mlp")
    inputs = {"x": np.random.default_rng(0).random((1, 16)).astype(np.float32)}
    message = infer_message(model, inputs).SerializeToString()
    (folder / "grpc.bin").write_bytes(framed(message))
    request = infer_request(Address(host="x", port=1), model, inputs, inferences=1)
    head, _, body = request.payload.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ") for line in head.split(b"\r\n")[1:])
    length = fields[b"Inference-Header-Content-Length"].decode()
    numbers = ",".join(str(byte) for byte in body)
    (folder / "wrk.lua").write_text(
        'wrk.method = "POST"\n'
        f"wrk.body = string.char({numbers})\n"
        f'wrk.headers["Inference-Header-Content-Length"] = "{length}"\n'
        'wrk.headers["Content-Type"] = "application/octet-stream"\n'
    )


def spread(values):
    middle = statistics.median(values)
    return f"{middle:8.1f} [{min(values):.1f}-{max(values):.1f}]"


def report(case, samples):
    """Print one case; ratios are against the better of perf_analyzer's two modes."""
    print(f"\n{case[0]} concurrency {case[1]}")  # noqa: T201
    for name, runs in samples.items():
        foreign = statistics.median(run.foreign for run in runs)
        print(  # noqa: T201
            f"  {name:11} requests/s {spread([r.rps for r in runs]):32}"
            f" CPU us/request {spread([r.cpu_us for r in runs]):24}"
            f" foreign cores {foreign:.2f}  n={len(runs)}"
        )

    def median(name, field):
        return statistics.median(getattr(run, field) for run in samples[name])

    modes = ["pa sync", "pa async"]
    faster = median("triton-kit", "rps") / max(median(m, "rps") for m in modes)
    cheaper = median("triton-kit", "cpu_us") / min(median(m, "cpu_us") for m in modes)
    least, most = GOALS.get(case, (0.0, 9.0))
    print(  # noqa: T201
        f"  triton-kit / better perf_analyzer: throughput {faster:.2f}x (goal >= "
        f"{least:.2f}) {'met' if faster >= least else 'MISSED'}, CPU {cheaper:.3f} "
        f"(goal <= {most:.3f}) {'met' if cheaper <= most else 'MISSED'}"
    )
    for name in samples.keys() & {"wrk", "h2load"}:
        share = median("triton-kit", "cpu_us") / median(name, "cpu_us")
        print(f"  triton-kit / {name}: CPU {share:.2f}x (goal <= 1.30)")  # noqa: T201


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", action="append", help="grpc:16, for example")
    parser.add_argument("--json", type=Path, help="every sample, for later")
    options = parser.parse_args()
    cases = [
        (protocol, int(concurrency))
        for protocol, _, concurrency in (
            case.partition(":") for case in options.case or []
        )
    ] or list(GOALS)
    pa, pa_env = install()
    samples = {case: {} for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        write_model(repository)
        with running(ServeSpec(repository=repository)) as server:
            write_bodies(server, Path(folder))
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)  # noqa: T201
                for case in cases:
                    found = clients(server, *case, pa, Path(folder))
                    for name, argv in found.items():
                        wait_until_calm()
                        env = pa_env if name.startswith("pa") else dict(os.environ)
                        sample = watch(server, argv, env)
                        samples[case].setdefault(name, []).append(sample)
    for case in cases:
        report(case, samples[case])
    if options.json:
        rows = [
            {"protocol": p, "concurrency": c, "client": name, **vars(run)}
            for (p, c), by_name in samples.items()
            for name, runs in by_name.items()
            for run in runs
        ]
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
