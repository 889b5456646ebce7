"""A ResNet-50-shaped network on this CPU: torch, its ONNX export, our artifacts.

One process, variants interleaved round by round, so that whatever else the machine does
meets all of them alike. Medians of single inferences, with quartiles; ratios are of
medians over the rounds, with the 95 % interval of 1,000 bootstrap samples.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

try:
    import torch
except ImportError:
    sys.exit("torch is missing: pip install torch==2.13.0 onnxscript==0.7.2")
from bare import bare_seconds
from resnet import resnet50

from triton_kit.convert.frontends.torch import onnx_from_torch
from triton_kit.convert.pipeline import convert
from triton_kit.convert.spec import Calibration, ConvertSpec, Gate, ShapeRange

SIZE = (3, 224, 224)
HERE = Path(__file__).parent
PROFILE = {"input": ShapeRange(min=(1, *SIZE), opt=(4, *SIZE), max=(16, *SIZE))}


def session(path):
    options = ort.SessionOptions()
    # Threads that spin after a run would take the next variant's CPU.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def cpu_seconds():
    """Return the CPU time of this process and of its children that ended."""
    used = [
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(u.ru_utime + u.ru_stime for u in used)


def converted(source, folder, **fields):
    """Convert; return the artifact's path and what it took."""
    started, cpu_s = time.monotonic(), cpu_seconds()
    output = folder / fields["precision"] / "model.onnx"
    output.parent.mkdir()
    result = convert(
        ConvertSpec(source=source, output=output, profiles=(PROFILE,), **fields)
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return output, {
        "seconds": time.monotonic() - started,
        "cpu_seconds": cpu_seconds() - cpu_s,
        "peak_child_bytes": peak,
        "bytes": result.after.bytes,
        "snr_db": result.accuracy.min_snr_db,
        "level": result.accuracy.runtime_level,
    }


def measured(variants, images, rounds):
    """Return seconds, shape (rounds,), of every variant; one inference each a round.

    The order is drawn anew every round: what runs next to what is not always the same.
    """
    rng = np.random.default_rng(2)
    for run in variants.values():
        run(images)
    seconds = {name: [] for name in variants}
    for _ in range(rounds):
        for name in rng.permutation(list(variants)):
            started = time.perf_counter_ns()
            variants[name](images)
            seconds[name].append((time.perf_counter_ns() - started) / 1e9)
    return {name: np.array(found) for name, found in seconds.items()}


def ratio(slow, fast):
    """Return the ratio of medians and its 95 % interval."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(slow), (1000, len(slow)))
    found = np.median(slow[picks], axis=1) / np.median(fast[picks], axis=1)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(np.median(slow) / np.median(fast)), float(low), float(high)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        report = bench(Path(scratch), options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def bench(folder, options):
    module = resnet50()
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((16, *SIZE)).astype(np.float32)
    np.savez(folder / "samples.npz", input=samples)
    spec = ConvertSpec(
        source="resnet:make", output=folder / "x", profiles=(PROFILE,), root=HERE
    )
    original = onnx_from_torch(spec, folder)
    fp32, facts32 = converted(original, folder, precision="fp32")
    cpu_s = cpu_seconds()
    bare_s = bare_seconds(
        original, folder, [(1, *SIZE), (4, *SIZE), (16, *SIZE), (16, *SIZE)]
    )
    bare_cpu_s = cpu_seconds() - cpu_s
    calibration = Calibration(data=folder / "samples.npz", method="minmax")
    int8, facts8 = converted(
        original,
        folder,
        precision="int8",
        calibration=calibration,
        verify_data=folder / "samples.npz",
        gate=Gate(min_snr_db=10),
    )
    sessions = {
        "original ONNX": session(original),
        "converted fp32": session(fp32),
        "converted int8": session(int8),
    }

    def eager(images):
        with torch.inference_mode():
            return module(torch.from_numpy(images)).numpy()

    variants = {"torch eager": eager} | {
        name: lambda images, s=s: s.run(None, {"input": images})
        for name, s in sessions.items()
    }
    report = {
        "cpu": platform.processor() or platform.machine(),
        "threads": options.threads,
        "torch": torch.__version__,
        "onnxruntime": ort.__version__,
        "original_bytes": original.stat().st_size,
        "fp32": facts32,
        "int8": facts8,
        "bare_seconds": bare_s,
        "bare_cpu_seconds": bare_cpu_s,
        # CPU time: what else the machine does weighs less in it than on a wall clock.
        "overhead": facts32["cpu_seconds"] / bare_cpu_s - 1,
        "batches": {},
    }
    say(json.dumps({k: v for k, v in report.items() if k != "batches"}, indent=1))
    for batch in (1, 16):
        rounds = options.rounds if batch == 1 else max(5, options.rounds // 3)
        found = measured(variants, samples[:batch], rounds)
        report["batches"][batch] = summary(found, batch)
    return report


def summary(found, batch):
    rows = {}
    for name, seconds in found.items():
        low, middle, high = np.percentile(seconds * 1e3, [25, 50, 75])
        times, least, most = ratio(found["torch eager"], seconds)
        rows[name] = {
            "median_ms": middle,
            "quartiles_ms": [low, high],
            "times_torch": [times, least, most],
        }
        say(
            f"batch {batch:2}  {name:15} {middle:8.1f} ms  [{low:.1f}, {high:.1f}]"
            f"  {times:.2f} x torch  [{least:.2f}, {most:.2f}]  n={len(seconds)}"
        )
    return rows


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
