"""`--builder docker`: plans are built in a container, once, and errors say what to do.

There is no GPU and no TensorRT here. The image has a stand-in for trtexec, which writes
the header of a plan; nvidia-smi is one as well; and the engine is asked through a
program that leaves out `--gpus`, which it would refuse.
"""

import os
import shutil
import subprocess
from pathlib import Path

import onnx
import pytest
from docker_commands import docker, run_kit

RELEASE = "25.10"
IMAGE = f"nvcr.io/nvidia/tensorrt:{RELEASE}-py3"
TRTEXEC = """#!/usr/bin/python3
import os, struct, sys
words = dict(w.partition("=")[::2] for w in sys.argv[1:])
print("[I] building", words["--onnx"])
assert os.path.getsize(words["--onnx"]) and os.getuid() == int({uid})
if "--builderOptimizationLevel" in words:
    sys.exit("[E] Error Code 9: no tactic")
header = b"ftrt" + struct.pack("<IQQ", 0, 0, 0) + bytes((10, 13, 3, 9)) + bytes(64)
with open(words["--saveEngine"], "wb") as file:
    file.write(header)
"""
MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[4, 3] x) => (float[4, 3] y) { y = Relu(x) }"""


@pytest.fixture(scope="module")
def image(engine, tmp_path_factory):
    context = tmp_path_factory.mktemp("tensorrt")
    (context / "trtexec").write_text(TRTEXEC.format(uid=os.getuid()))
    (context / "Dockerfile").write_text(
        "FROM debian-local:12\nCOPY trtexec /usr/local/bin/trtexec\n"
    )
    (context / "trtexec").chmod(0o755)
    docker("build", "--quiet", "--tag", IMAGE, str(context))
    yield IMAGE
    docker("image", "rm", "--force", IMAGE)


class Machine:
    """A folder of programs that come first, and a model to convert."""

    def __init__(self, folder):
        self.bin, self.out = folder / "bin", folder / "out"
        self.bin.mkdir()
        self.model = folder / "model.onnx"
        onnx.save(onnx.parser.parse_model(MODEL), self.model)

    def add(self, name, script):
        program = self.bin / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def add_gpu(self, capability="9.0"):
        self.add("nvidia-smi", f"echo {capability}")
        self.add(
            "docker",
            'for word; do shift; case $word in --gpus|device=0) ;; *) set -- "$@" '
            f'"$word";; esac; done\nexec {shutil.which("docker")} "$@"',
        )

    def convert(self, *words, env=None):
        shutil.rmtree(self.out, ignore_errors=True)
        return run_kit(
            *("convert", self.model, "-o", self.out, "--artifact", "plan"),
            *("--release", RELEASE, "--builder", "docker", *words),
            env={"PATH": f"{self.bin}:{os.environ['PATH']}", **(env or {})},
        )

    def plan(self):
        return (self.out / "model.plan").read_bytes()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def containers():
    return docker("ps", "--all", "--filter", "name=triton-kit-plan", "--quiet")


def test_a_plan_is_built_once_for_each_gpu(image, machine):
    machine.add_gpu("9.0")
    first = machine.convert()
    again = machine.convert("--seed", "1")  # which the plan does not depend on
    machine.add_gpu("8.9")
    other = machine.convert()

    assert first.returncode == 0, first.stderr
    assert machine.plan().startswith(b"ftrt")
    built = f"building model.plan in {IMAGE} (GPU 0, compute capability"
    assert f"{built} 9.0)" in first.stderr
    assert again.returncode == other.returncode == 0, again.stderr + other.stderr
    assert "model.plan: found in the cache (GPU 0" in again.stderr
    assert f"{built} 8.9)" in other.stderr
    assert containers() == ""
    assert not [*machine.out.glob("*.partial")]


def test_what_trtexec_says_is_the_reason(image, machine):
    machine.add_gpu()
    done = machine.convert("--option", "optimization_level=0")

    assert done.returncode == 3, done.stderr
    assert f"model.plan: trtexec of {IMAGE} did not build it (exit code 1)" in (
        done.stderr
    )
    assert "[E] Error Code 9: no tactic" in done.stderr
    assert "hint: the ONNX file is " in done.stderr
    assert containers() == ""
    assert not [*machine.out.glob("*.partial"), *machine.out.glob("*.plan")]


def test_an_image_that_is_not_here_is_named(engine, machine):
    machine.add_gpu()
    done = machine.convert("--release", "25.09")

    assert done.returncode == 5, done.stderr
    assert "image nvcr.io/nvidia/tensorrt:25.09-py3 is not on this machine" in (
        done.stderr
    )


def test_an_engine_without_gpus_is_explained(image, machine):
    machine.add("nvidia-smi", "echo 9.0")
    done = machine.convert("--option", "max_aux_streams=1")

    assert done.returncode == 5, done.stderr
    assert "the engine cannot give a container GPU 0" in done.stderr
    assert "nvidia-container-toolkit" in done.stderr
    assert containers() == ""


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v nvidia-smi"], check=False).returncode == 0,
    reason="this machine has nvidia-smi",
)
def test_without_a_gpu_or_an_engine_nothing_is_converted(engine, machine):
    no_gpu = machine.convert()
    (Path(machine.bin) / "docker").unlink(missing_ok=True)
    no_engine = machine.convert(env={"PATH": str(machine.bin)})

    assert (no_gpu.returncode, no_engine.returncode) == (5, 5)
    assert "no GPU: nvidia-smi finds none on this machine" in no_gpu.stderr
    assert "docker is not installed" in no_engine.stderr
    assert not machine.out.exists()
