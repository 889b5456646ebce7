"""`scripts/gpu bench`: ResNet-50 on the embedded server's GPU, by both backends.

Each case is one run of `triton-kit perf`, whose whole result is kept as JSON. Beside
them: the same model in one process, with data on the GPU, as the bound of what a server
can reach.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from converted import compare
from resnet50 import BLOCKS, SIZE, resnet50

from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64)
CONFIG = """\
backend: "onnxruntime"
max_batch_size: 64
input {{ name: "x" data_type: TYPE_{dtype} dims: [ 3, {size}, {size} ] }}
output {{ name: "y" data_type: TYPE_{dtype} dims: [ 1000 ] }}
dynamic_batching {{ preferred_batch_size: [ 16, 32, 64 ] {delay} }}
instance_group {{ count: {instances} kind: KIND_{kind} }}
{graphs}
{parameters}
{warmup}
"""
WARMUP = """model_warmup {{ name: "{batch}" batch_size: {batch} inputs {{ key: "x"
  value {{ data_type: TYPE_{dtype} dims: [ 3, {size}, {size} ] zero_data: true }} }} }}
"""
PARAMETER = 'parameters {{ key: "{}" value {{ string_value: "{}" }} }}'
# Name, options of perf beside the model and the address.
CASES = {
    "grpc 1": ["--concurrency-range", "1"],
    "grpc 16": ["--concurrency-range", "16"],
    "grpc 64": ["--concurrency-range", "64"],
    "cuda shared memory 64": ["--concurrency-range", "64", "--shared-memory", "cuda"],
    "system shared memory 64": [
        "--concurrency-range",
        "64",
        "--shared-memory",
        "system",
    ],
    "cuda shared memory 8 x batch 16": [
        *("--concurrency-range", "8", "-b", "16", "--shared-memory", "cuda"),
        *("--output-shared-memory-size", "262144"),
    ],
}


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/gpu bench", description=__doc__)
    parser.add_argument("--backend", action="append", choices=["native", "python"])
    parser.add_argument("--precision", action="append", choices=["fp16", "fp32"])
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--delay-us", type=int, default=0)
    parser.add_argument("--parameter", action="append", metavar="KEY=VALUE", default=[])
    parser.add_argument("--cuda-graphs", action="store_true")
    parser.add_argument("--processes", default="1", help="of perf")
    parser.add_argument("--kind", choices=["GPU", "CPU"], default="GPU")
    parser.add_argument("--size", type=int, default=SIZE, help="pixels; of the images")
    parser.add_argument("--blocks", type=int, nargs=4, default=BLOCKS)
    parser.add_argument("--interval-ms", default="3000")
    parser.add_argument(
        "--converted", action="store_true", help="only: conversions beside torch"
    )
    parser.add_argument("--no-raw", action="store_true", help="leave one process out")
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", ".cache/gpu/results"))
    )
    return parser.parse_args()


def raw(path, half, options):
    """Return inferences per second of one process with its data on the GPU."""
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    settings = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    cuda = [("CUDAExecutionProvider", settings)]
    providers = cuda if options.kind == "GPU" else ["CPUExecutionProvider"]
    device = "cuda" if options.kind == "GPU" else "cpu"
    session = ort.InferenceSession(str(path), providers=providers)
    found = {}
    for batch in (1, 16, 64) if options.kind == "GPU" else (1,):
        shape = (batch, 3, options.size, options.size)
        x = np.zeros(shape, np.float16 if half else np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x, device, 0))
        binding.bind_output("y", device)
        for _ in range(5):
            session.run_with_iobinding(binding)
        began_s, runs = time.perf_counter(), 0
        while time.perf_counter() - began_s < 1:
            session.run_with_iobinding(binding)
            runs += 1
        found[batch] = round(runs * batch / (time.perf_counter() - began_s), 1)
    return found


def write(repository, model, dtype, options):
    version = repository / "resnet50" / "1"
    version.mkdir(parents=True)
    onnx.save(model, version / "model.onnx")
    batches = BATCHES if options.kind == "GPU" else (1,)
    config = CONFIG.format(
        dtype=dtype,
        size=options.size,
        delay=f"max_queue_delay_microseconds: {options.delay_us}"
        if options.delay_us
        else "",
        instances=options.instances,
        kind=options.kind,
        graphs="optimization { cuda { graphs: true } }" if options.cuda_graphs else "",
        parameters="\n".join(
            PARAMETER.format(*pair.split("=", 1)) for pair in options.parameter
        ),
        warmup="".join(
            WARMUP.format(batch=b, dtype=dtype, size=options.size) for b in batches
        ),
    )
    (repository / "resnet50" / "config.pbtxt").write_text(config)
    return version / "model.onnx"


def perf(server, case, out, options):
    """Measure one case; return its figures in short."""
    argv = [
        *(sys.executable, "-m", "triton_kit", "perf", "-m", "resnet50"),
        *("-u", server.grpc_url, "-i", "grpc", "--json", str(out)),
        *("-p", options.interval_ms, "--max-trials", "5", "--warm-up", "2"),
        *("--collect-metrics", "--metrics-url", server.metrics_url),
        *("--processes", options.processes, *CASES[case]),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if not out.exists():
        return {"error": (done.stderr or done.stdout).strip()[-300:]}
    return json.loads(out.read_text())


def short(result):
    if "error" in result:
        return result["error"]
    [run] = result["runs"]
    latency, [counted] = run["latency_us"], run["server"]
    batch = counted["inferences"] / max(1, counted["executions"])
    return (
        f"{run['throughput']:9,.0f} infer/s  p50 {latency['p50'] / 1e3:7.2f} ms"
        f"  p99 {latency['p99'] / 1e3:7.2f} ms  batch {batch:5.1f}"
        f"  compute {counted['mean_us']['compute_infer'] / 1e3:6.2f} ms"
        f"  errors {run['errors']}  {run['verdict']['kind']}{gpus(run)}"
    )


def gpus(run):
    return "".join(
        f"  GPU {100 * (gpu['utilization'] or 0):.0f} %"
        f" {1e3 * (gpu['energy_per_inference_j'] or 0):.1f} mJ"
        for gpu in run["gpus"]
    )


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.converted:
        compare(options.out, say)
        return
    for precision in options.precision or ["fp16"]:
        half = precision == "fp16"
        model = resnet50(half=half, size=options.size, blocks=options.blocks)
        for backend in options.backend or ["native", "python"]:
            with tempfile.TemporaryDirectory() as folder:
                repository = Path(folder) / "repository"
                dtype = "FP16" if half else "FP32"
                path = write(repository, model, dtype, options)
                if not options.no_raw and backend == "native":
                    found = raw(path, half, options)
                    say(f"{precision} one process, infer/s by batch: {found}")
                measure(repository, f"{precision}-{backend}", backend, options)


def measure(repository, name, backend, options):
    log = options.out / f"{name}.log"
    spec = ServeSpec(
        repository=repository,
        onnxruntime_backend=backend,
        ready_within_s=400,
        log=log,
        access=Access(client_shared_memory=True),
    )
    with running(spec) as server:
        ready_s = f"{server.ready_after_s:.1f} s"
        say(f"{name}: {server.onnxruntime_backend}, ready in {ready_s}")
        for case in options.case or CASES:
            out = options.out / f"{name}-{case.replace(' ', '-')}.json"
            say(f"  {case:32} {short(perf(server, case, out, options))}")


if __name__ == "__main__":
    main()
