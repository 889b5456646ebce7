"""Make the results that the tests of reports open: real runs on the embedded server.

    python tests/browser/make_results.py [NAME of a load test ...]

Writes tests/browser/results: one load on a pipeline, two sweeps, a sweep with errors, a
search of tune, and conversions of one network in three precisions. With names, it
writes only those load tests.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import triton_kit
from triton_kit.serving.spec import ServeSpec

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
DIGITS = ROOT / "templates" / "projects" / "digits"
SHORT = ("-p", "1500", "--warm-up", "0.5")
# Several windows, so that there is a latency over time.
WINDOWS = ("-p", "700", "-s", "1", "-r", "8", "--warm-up", "0.5")
RUNS = {
    "one": ("-m", "read_digit", "--concurrency-range", "4", "--collect-metrics"),
    "sweep": ("-m", "digits", "--concurrency-range", "1:16:3", "--slo", "p99<6ms"),
    "batches": ("-m", "digits", "-b", "1,4,16", "--concurrency-range", "4"),
    "repeated": ("-m", "digits", "--concurrency-range", "2", "--repeat", "3"),
    "failing": (
        *("-m", "digits", "--request-rate-range", "200"),
        *("--request-timeout", "0.0009"),
    ),
}


def run(*arguments):
    command = [sys.executable, "-m", "triton_kit", *map(str, arguments)]
    done = subprocess.run(command, check=False)
    if done.returncode not in (0, 1):  # 1: an objective is missed
        raise SystemExit(done.returncode)


def perf(folder, names):
    spec = ServeSpec(repository=ROOT / "model_repository")
    inputs = folder / "inputs"
    inputs.mkdir()
    shutil.copy(DIGITS / "samples" / "seven.png", inputs / "png")
    with triton_kit.serve(spec) as server:
        for name in names:
            options = RUNS[name]
            address = server.http_url.removeprefix("http://")
            where = ("-u", address, "--json", folder / f"{name}.json")
            if "read_digit" in options:
                where += ("--input-data", inputs, "--metrics-url", server.metrics_url)
            where += WINDOWS if name == "one" else SHORT
            run("perf", *options, *where)


def tune(folder):
    run("new", "digits", folder / "digits")
    run("build", folder / "digits")
    space = ("--space", "instances=1,2", "--space", "max_batch_size=8,16,64")
    load = ("--space", "concurrency=4,8", "--budget", "40s")
    run("tune", "digits", folder / "digits", *space, *load, "-o", folder / "search")
    shutil.copy(folder / "search" / "result.json", folder / "tune.json")


def convert(folder):
    data = ("--calibration", DIGITS / "data" / "calibration.npz")
    for precision in ("fp32", "fp16", "int8"):
        more = data if precision == "int8" else ()
        output = folder / precision
        run(
            "convert",
            DIGITS / "digits.onnx",
            "--precision",
            precision,
            *more,
            "-o",
            output,
        )
        shutil.copy(output / "manifest.json", folder / f"convert-{precision}.json")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = sys.argv[1:]
        perf(folder, names or RUNS)
        if not names:
            tune(folder)
            convert(folder)
        RESULTS.mkdir(exist_ok=True)
        for path in folder.glob("*.json"):
            shutil.copy(path, RESULTS / path.name)


if __name__ == "__main__":
    main()
