"""`--builder docker`: plans are built in a container, once, and errors say what to do.

There is no GPU and no TensorRT here. The image has a stand-in for trtexec, which writes
the header of a plan; nvidia-smi is one as well; and the engine is asked through a
program that leaves out `--gpus`, which it would refuse.
"""

import os
import shutil
from dataclasses import replace

import onnx
import pytest
from docker_commands import docker, run_kit

from triton_kit.conversion.tensorrt.prebuilt import MissingPlan
from triton_kit.errors import ConvertError, ServerError
from triton_kit.plan_builder import build_plans, find_plan_builder

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


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Write a program that comes first on PATH: `programs(name, script)`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def add(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return add


@pytest.fixture
def gpu(programs):
    """A GPU by nvidia-smi, and an engine that does not mind `--gpus`."""
    real = shutil.which("docker")
    programs("nvidia-smi", "echo 9.0")
    programs(
        "docker",
        'for word; do shift; case $word in --gpus|device=0) ;; *) set -- "$@" '
        f'"$word";; esac; done\nexec {real} "$@"',
    )


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


def missing(model, *words, image=IMAGE):
    """Return a plan that a conversion would ask for."""
    return MissingPlan(
        output=model.parent / "model.plan",
        onnx=model,
        plan=model.parent / "model-0123.plan",
        image=image,
        words=(f"--onnx=/work/{model.name}", *words),
    )


def build(plan, **fields):
    """Build it; return the lines of progress."""
    lines = []
    build_plans([plan], replace(find_plan_builder("docker"), **fields), lines.append)
    return lines


def left_behind(folder):
    names = ("ps", "--all", "--filter", "name=triton-kit-plan", "--quiet")
    return [*folder.glob("*.partial"), *docker(*names).split()]


def test_convert_builds_its_plan(image, gpu, model, tmp_path):
    done = run_kit(
        *("convert", model, "-o", tmp_path / "out", "--artifact", "plan"),
        *("--release", RELEASE, "--builder", "docker"),
    )

    assert done.returncode == 0, done.stderr
    line = f"building model.plan in {IMAGE} (GPU 0, compute capability 9.0)"
    assert line in done.stderr
    assert (tmp_path / "out" / "model.plan").read_bytes().startswith(b"ftrt")


def test_a_plan_is_built_once_for_each_gpu_image_and_option(image, gpu, model):
    plan = missing(model)
    built = f"building model.plan in {IMAGE} (GPU 0, compute capability 9.0)"
    found = "model.plan: found in the cache (GPU 0, compute capability 9.0)"

    assert build(plan) == [built]
    plan.plan.unlink()
    assert build(plan) == [found]
    assert plan.plan.read_bytes().startswith(b"ftrt")
    assert build(plan, compute_capability="8.9") == [built.replace("9.0", "8.9")]
    assert build(missing(model, "--noTF32")) == [built]
    assert left_behind(model.parent) == []


def test_what_trtexec_says_is_the_reason(image, gpu, model):
    with pytest.raises(ConvertError) as caught:
        build(missing(model, "--builderOptimizationLevel=0"))

    assert f"trtexec of {IMAGE} did not build it (exit code 1)" in str(caught.value)
    assert "[E] Error Code 9: no tactic" in caught.value.message
    assert caught.value.hint.startswith(f"the ONNX file is {model}")
    assert left_behind(model.parent) == []


def test_an_image_that_is_not_here_is_named(engine, gpu, model):
    image = "registry.invalid/tensorrt:25.10-py3"

    with pytest.raises(ServerError, match=f"image {image} is not on this machine"):
        build(missing(model, image=image))


def test_an_engine_without_gpus_is_explained(image, programs, model):
    programs("nvidia-smi", "echo 9.0")

    with pytest.raises(ServerError, match="cannot give a container GPU 0") as caught:
        build(missing(model, "--noTF32", "--int8"))

    assert "nvidia-container-toolkit" in caught.value.hint
    assert left_behind(model.parent) == []


def test_without_a_gpu_or_an_engine_there_is_no_builder(engine, programs, monkeypatch):
    programs("nvidia-smi", "exit 9")
    with pytest.raises(ServerError, match="nvidia-smi finds none on this machine"):
        find_plan_builder("docker")

    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServerError, match="docker is not installed"):
        find_plan_builder("docker")


def test_convert_looks_for_the_builder_first(engine, programs, model, tmp_path):
    programs("nvidia-smi", "exit 9")
    done = run_kit(
        *("convert", model, "-o", tmp_path / "out", "--artifact", "plan"),
        *("--release", RELEASE, "--builder", "docker"),
    )

    assert done.returncode == 5, done.stderr
    assert not (tmp_path / "out").exists()
