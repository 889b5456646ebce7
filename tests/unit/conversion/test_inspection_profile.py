"""`triton-kit inspect --profile`: where the time of a model goes."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.inspection.profile import (
    ProfileSpec,
    profile_lines,
    profile_onnx,
)
from triton_kit.conversion.inspection.profile_worker import onnxruntime_times
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import SpecError

needs_no_gpu_stack = pytest.mark.skipif(
    find_spec("tensorrt") is not None, reason="TensorRT is installed: it may run"
)


def test_every_node_is_timed_in_every_run_and_in_no_other(kit, networks):
    asked = ["--profile", "--runs", "7", "--warm-up", "3", "--json"]
    result = kit("inspect", networks / "cnn.onnx", *asked)

    profile = json.loads(result.stdout)["profile"]
    assert {node["calls"] for node in profile["nodes"]} == {7}
    assert profile["runs"] == 7
    assert {node["provider"] for node in profile["nodes"]} == {"CPUExecutionProvider"}
    assert sum(node["share"] for node in profile["nodes"]) == pytest.approx(1)
    medians = [node["median_us"] for node in profile["nodes"]]
    assert medians == sorted(medians, reverse=True)
    assert profile["nodes"][0]["op"] == "Conv"
    assert profile["run_us"] > 0
    assert profile["peak_memory_bytes"] > profile["model_memory_bytes"] > 0


def test_a_terminal_shows_the_slowest_nodes_and_who_ran_them(kit, networks):
    result = kit("inspect", networks / "cnn.onnx", "--profile", "--batch", "3")

    assert result.exit_code == 0, result.output
    assert "image 3x3x32x32; 20 runs after 5" in result.output
    assert "peak memory" in result.output
    assert "(CPU)" in result.output


@pytest.mark.parametrize(
    ("asked", "shape"),
    [
        (["--shape", "tokens:3x24"], [3, 24]),
        (["--shape", "tokens:3x24", "--batch", "5"], [3, 24]),
        (["--batch", "5"], [5, 2]),
        ([], [2, 2]),
    ],
)
def test_shapes_are_those_asked_for(kit, networks, asked, shape):
    asked = ["--profile", "--runs", "1", "--json", *asked]
    result = kit("inspect", networks / "transformer.onnx", *asked)

    assert json.loads(result.stdout)["profile"]["shapes"] == {"tokens": shape}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--shape", "token:1x2"], "did you mean 'tokens'"),
        (["--shape", "tokens:1x2x3"], "do not fit"),
        (["--shape", "tokens:1x2", "--shape", "tokens:1x3"], "more than one shape"),
        (["--runs", "0"], "runs is 0"),
        (["--warm-up", "-1"], "warm_up is -1"),
        (["--batch", "0"], "batch is 0"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(kit, networks, asked, words):
    result = kit("inspect", networks / "transformer.onnx", "--profile", *asked)

    assert result.exit_code == SpecError.exit_code, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_the_warm_up_is_left_out():
    def event(name, at, us, **told):
        args = {"op_name": "Conv", "provider": "CPU"} if told else {}
        kind = "Node" if told else "Session"
        return {"name": name, "ts": at, "dur": us, "cat": kind, "args": args}

    events = []
    for run, us in enumerate((900, 10, 30)):
        events += [event("model_run", run * 1000, us)]
        events += [event("a_kernel_time", run * 1000 + 1, us, node=True)]

    found = onnxruntime_times(events, warm_up=1)

    assert found["run_us"] == 20
    (node,) = found["nodes"]
    assert (node["name"], node["calls"], node["median_us"]) == ("a", 2, 20)


def test_a_crash_at_the_highest_level_is_a_profile_of_the_next(tmp_path):
    b = Builder()
    x = b.op("Transpose", "x", perm=[1, 0, 2])
    b.op("MatMul", x, b.weight("w", (8, 8)), to="y")
    model = b.model([("x", T.FLOAT, ["b", "s", 8])], [("y", T.FLOAT, ["s", "b", 8])])
    source, output = saved(model, tmp_path / "m.onnx"), tmp_path / "out" / "model.onnx"
    result = convert(ConvertSpec(source=source, output=output, precision="fp16"))

    profile = profile_onnx(result.artifact, ProfileSpec(runs=1))

    assert profile["level"] == "extended"


@needs_no_gpu_stack
def test_tensorrt_beside_it_is_skipped_with_the_reason(networks):
    profile = profile_onnx(networks / "cnn.onnx", ProfileSpec(runs=1))

    assert profile["tensorrt"] == {"skipped": "tensorrt is not installed"}
    assert "TensorRT: skipped, tensorrt is not installed" in profile_lines(profile)[-1]


@needs_no_gpu_stack
def test_an_engine_that_cannot_run_here_is_refused_with_the_reason(kit, tmp_path):
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"ftrt" + bytes(20) + bytes([10, 13, 3, 9]) + bytes(100))

    result = kit("inspect", plan, "--profile")

    assert result.exit_code == SpecError.exit_code
    assert "cannot be profiled here: tensorrt is not installed" in result.output
    assert "hint:" in result.output


def test_a_manifest_does_not_run(kit, order):
    manifest = convert(order("cnn")).artifact.parent / "manifest.json"

    result = kit("inspect", manifest, "--profile")

    assert result.exit_code == SpecError.exit_code
    assert "profile its artifact" in result.output


CHILD = (
    "from triton_kit.conversion.workers.memory import peak_memory_bytes as p; "
    "import resource; "
    "print(p(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
)
PARENT = f"""
import subprocess, sys
held = b"x" * (300 << 20)
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
"""


def test_the_memory_of_a_child_is_its_own():
    """The system's ru_maxrss begins with the size of who started the process."""
    said = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, text=True, check=True
    )
    own, inherited = map(int, said.stdout.split())

    assert own < 150 << 20
    assert inherited > 300 << 20
