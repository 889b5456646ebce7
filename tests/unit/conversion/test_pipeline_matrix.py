"""Every network in every precision: converted, verified, and smaller."""

import os
import subprocess
import sys

import onnx
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.results.manifest import sha256

FLOORS_DB = {"fp32": 90, "fp16": 60, "bf16": 35, "int8": 30, "fp8": 20}
# What the answers were computed with: the artifact itself, or its rounded form where
# the CPU has no such arithmetic.
METHODS = {
    "fp32": "run",
    "fp16": "rounded",
    "bf16": "rounded",
    "int8": "run",
    "fp8": "run",
}


TYPES = {"cnn": ["FP32", "FP32"], "transformer": ["INT64", "FP32"]}
# The most bytes an artifact may take, as a share of the source's.
SIZES = {"fp32": 1.2, "fp16": 0.6, "bf16": 0.6, "int8": 0.5, "fp8": 0.5}


@pytest.mark.parametrize("precision", FLOORS_DB)
@pytest.mark.parametrize("network", ["cnn", "transformer"])
def test_onnx_artifacts_respond_like_their_source(order, network, precision):
    result = convert(order(network, precision=precision))

    assert result.precision == precision
    assert result.after.bytes <= SIZES[precision] * result.before.bytes
    types = [t.dtype.name for t in (*result.inputs, *result.outputs)]
    assert types == TYPES[network]  # whatever is computed in between
    assert result.accuracy.min_snr_db >= FLOORS_DB[precision]
    assert result.accuracy.method == METHODS[precision]
    assert {"profile 0 min", "profile 0 opt", "profile 0 max"} <= {
        *result.accuracy.points
    }
    onnx.checker.check_model(result.artifact, full_check=True)


def test_the_same_spec_gives_the_same_bytes(order):
    first = convert(order("cnn", precision="int8")).artifact.read_bytes()

    assert convert(order("cnn", precision="int8")).artifact.read_bytes() == first


def several_inputs(path):
    """Batch axes without names, which a simplifier names after one of the inputs."""
    names = ("amount", "age", "country", "channel")
    b = Builder()
    b.op("Relu", b.op("Concat", *names, axis=1), to="y")
    values = [(name, T.FLOAT, [None, 1]) for name in names]
    return saved(b.model(values, [("y", T.FLOAT, [None, 4])]), path)


def test_hash_seed_folder_time_and_cores_change_no_byte(tmp_path):
    """Six builds of one source, each in a world of its own."""
    digests = set()
    cores = sorted(os.sched_getaffinity(0))
    for seed in range(6):
        folder = tmp_path / f"world {seed}"
        folder.mkdir()
        source = several_inputs(folder / "m.onnx")
        os.utime(source, (seed * 1e8, seed * 1e8))
        used = ",".join(map(str, cores[: 1 + seed % 2]))
        argv = ["taskset", "-c", used, sys.executable, "-m", "triton_kit", "convert"]
        subprocess.run(
            [*argv, source, "-o", folder / "out", "--precision", "fp16"],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            cwd=folder,
            check=True,
            capture_output=True,
        )
        made = (folder / "out" / name for name in ("model.onnx", "manifest.json"))
        digests.add(tuple(sha256(path) for path in made))

    assert len(digests) == 1
