"""`scripts/bench backends`: the native onnxruntime backend beside the one in Python.

Both serve the same small MLP, one instance each, on servers that are up at the same
time; the load goes to one at a time, in turns. CPU is counted from outside: the server
with all its processes. A third model, beside the native one, has a backend that
computes nothing (empty.c): it serves the most that this server and client can do.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import onnx
import psutil

sys.path.append(str(Path(__file__).parents[1] / "perf"))
from target import CONFIG, MODEL, mlp  # the model of `scripts/bench perf`

from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

HERE = Path(__file__).parent
NATIVE = HERE.parents[2] / "triton_kit/serving/backends/onnxruntime/native"
BACKENDS = ("python", "native")
EMPTY = "empty"
COLUMNS = (*BACKENDS, EMPTY)
LOADS = (1, 16, 64)
ROWS = ("requests_per_s", "server_cpu_us", "p50_us", "p99_us")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench backends", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=10, help="of unload and load")
    parser.add_argument("--interval-ms", default="1000")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench-backends"))
    return parser.parse_args()


def cpu_s(pid):
    """Return the CPU time of a process and of those it started."""
    server = psutil.Process(pid)
    family = [server, *server.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def measure(server, model, load, interval_ms, out):
    argv = [
        *(sys.executable, "-m", "triton_kit", "perf", "-m", model, "-i", "grpc"),
        *("-u", server.grpc_url, "--concurrency-range", str(load), "--json", str(out)),
        *("-p", interval_ms, "--max-trials", "3", "--warm-up", "0.5"),
    ]
    before_s = cpu_s(server.pid)
    subprocess.run(argv, capture_output=True, check=False)
    used_s = cpu_s(server.pid) - before_s
    [run] = json.loads(out.read_text())["runs"]
    [counted] = run["server"]
    return {
        "requests_per_s": run["requests_per_s"],
        "server_cpu_us": used_s * 1e6 / run["requests_total"],
        "p50_us": run["latency_us"]["p50"],
        "p99_us": run["latency_us"]["p99"],
        "batch": counted["inferences"] / max(1, counted["executions"]),
        "errors": run["errors"],
        "foreign_cores": run["foreign_cores"],
        "verdict": run["verdict"]["kind"],
    }


def reload_times(server, cycles):
    """Return the median seconds of an unload and of a load."""
    control, unloads, loads = server.control, [], []
    for _ in range(cycles):
        began_s = time.perf_counter()
        control.unload(MODEL)
        while control.is_model_ready(MODEL):
            time.sleep(0.001)
        unloaded_s = time.perf_counter()
        control.load(MODEL)
        unloads.append(unloaded_s - began_s)
        loads.append(time.perf_counter() - unloaded_s)
    return {
        "unload_s": statistics.median(unloads),
        "load_s": statistics.median(loads),
    }


def table(result):
    lines = [
        "| in flight | figure | python | native | native / python | computes nothing |",
        "|---|---|---|---|---|---|",
    ]
    for load in LOADS:
        for row in ROWS:
            cells, medians = [], []
            for backend in COLUMNS:
                values = [r[row] for r in result["rounds"][backend][str(load)]]
                medians.append(statistics.median(values))
                span = f"{min(values):,.0f}-{max(values):,.0f}"
                cells.append(f"{medians[-1]:,.0f} ({span})")
            ratio = medians[1] / medians[0]
            cells.insert(2, f"{ratio:.2f}")
            lines.append(f"| {load} | {row} | {' | '.join(cells)} |")
    for name in ("ready_s", "unload_s", "load_s"):
        cells = [f"{result['starts'][backend][name]:.3f}" for backend in BACKENDS]
        lines.append(f"| | {name} | {' | '.join(cells)} | | |")
    return "\n".join(lines) + "\n"


def write_empty(repository, config):
    """Write the model whose backend computes nothing; compile the backend into it."""
    folder = repository / EMPTY
    (folder / "1").mkdir(parents=True)
    text = config.replace('"onnxruntime"', f'"{EMPTY}"')
    (folder / "config.pbtxt").write_text(text)
    argv = [
        *("cc", "-std=gnu11", "-O2", "-shared", "-fPIC", f"-I{NATIVE}"),
        *(str(HERE / "empty.c"), "-o", str(folder / f"libtriton_{EMPTY}.so")),
    ]
    subprocess.run(argv, check=True)


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    result = {
        "environment": {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "cpus": len(os.sched_getaffinity(0)),
        },
        "starts": {},
        "rounds": {backend: {str(load): [] for load in LOADS} for backend in COLUMNS},
    }
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        version = Path(folder) / "repository" / MODEL / "1"
        version.mkdir(parents=True)
        onnx.save(mlp(), version / "model.onnx")
        config = CONFIG.format(instances=1, batcher="")
        (version.parent / "config.pbtxt").write_text(config)
        write_empty(version.parents[1], config)
        servers = {}
        for backend in BACKENDS:
            spec = ServeSpec(
                repository=version.parents[1],
                onnxruntime_backend=backend,
                model_control="explicit",
                models=("*",),
            )
            server = servers[backend] = stack.enter_context(running(spec))
            starts = result["starts"][backend] = reload_times(server, options.cycles)
            starts["ready_s"] = server.ready_after_s
        measured = {backend: (servers[backend], MODEL) for backend in BACKENDS}
        measured[EMPTY] = (servers["native"], EMPTY)
        for _ in range(options.rounds):
            for load in LOADS:
                for column, (server, model) in measured.items():
                    out = Path(folder) / "perf.json"
                    found = measure(server, model, load, options.interval_ms, out)
                    result["rounds"][column][str(load)].append(found)
    (options.out / "backends.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(table(result))


if __name__ == "__main__":
    main()
