"""Plans that were built elsewhere: in the container, on another machine, by others."""

import hashlib
import json
import os
import shlex
import struct
import subprocess
from dataclasses import replace
from importlib.util import find_spec

import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.tensorrt.plan_script import (
    PLAN_JOB,
    PLAN_SCRIPT,
    write_plan_script,
)
from triton_kit.conversion.tensorrt.prebuilt import MissingPlan
from triton_kit.errors import ConvertError, SpecError

needs_no_tensorrt = pytest.mark.skipif(
    find_spec("tensorrt") is not None, reason="TensorRT is installed: a plan is built"
)
needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed"
)


def write_plan(path, version=(10, 13, 3, 9)):
    """Write the header of a plan and some bytes: what can be had without a GPU."""
    header = b"ftrt" + struct.pack("<IQQ", 0, 0, 0) + bytes(version)
    path.write_bytes(header + bytes(range(200)))
    return path


def command_of(error):
    return shlex.split(error.hint.splitlines()[-1])


def as_the_container_does(command):
    """Leave a plan where the command says that trtexec would."""
    mount = command[command.index("-v") + 1].partition(":")[0]
    (saved,) = [w for w in command if w.startswith("--saveEngine=/work/")]
    return f"{mount}/{saved.removeprefix('--saveEngine=/work/')}"


@needs_no_tensorrt
def test_the_container_plan_is_imported_by_the_next_run(order, tmp_path):
    spec = order("cnn", format="plan", precision="fp16", release="25.10")
    with pytest.raises(ConvertError) as caught:
        convert(spec)
    plan = write_plan(tmp_path / as_the_container_does(command_of(caught.value)))
    waiting = json.loads((spec.output.parent / "manifest.json").read_text())
    assert (waiting["artifact"], waiting["precision"]) == ("model.onnx", "fp16")
    assert (spec.output.parent / PLAN_SCRIPT).is_file()

    result = convert(spec)

    assert result.artifact.read_bytes() == plan.read_bytes()
    assert result.precision == "fp16"
    assert result.accuracy.min_snr_db >= 60
    assert any("the plan itself was not run" in note for note in result.notes)
    facts = json.loads((spec.output.parent / "manifest.json").read_text())
    assert facts["engine"]["version"] == "10.13.3.9"
    assert list(facts["files"]) == ["model.plan"]


@needs_no_tensorrt
@pytest.mark.parametrize(
    "change",
    [{"precision": "fp32"}, {"options": {"workspace": "1G"}}, {"release": "25.08"}],
)
def test_a_plan_built_from_another_spec_is_not_imported(order, tmp_path, change):
    given = {"format": "plan", "precision": "fp16", "release": "25.10"}
    with pytest.raises(ConvertError) as caught:
        convert(order("cnn", **given))
    write_plan(tmp_path / as_the_container_does(command_of(caught.value)))

    with pytest.raises(ConvertError, match="not built"):
        convert(order("cnn", **given | change))


@needs_no_tensorrt
def test_a_plan_of_another_tensorrt_than_the_releases_is_refused(order, tmp_path):
    spec = order("cnn", format="plan", release="25.10")
    with pytest.raises(ConvertError) as caught:
        convert(spec)
    plan = as_the_container_does(command_of(caught.value))
    write_plan(tmp_path / plan, version=(10, 5, 0, 18))

    with pytest.raises(ConvertError, match=r"10\.5\.0\.18.*25\.10.*10\.13\.3\.9"):
        convert(spec)

    assert not spec.output.exists()


def test_a_plan_of_another_tool_gets_a_manifest_of_what_is_known(kit, tmp_path):
    plan, out = write_plan(tmp_path / "theirs.plan"), tmp_path / "out"

    result = kit("convert", plan, "-o", out, "--format", "plan", "--release", "25.10")

    assert result.exit_code == 0, result.output
    assert "not compared with an original" in result.output
    assert (out / "model.plan").read_bytes() == plan.read_bytes()
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["engine"]["version"] == "10.13.3.9"
    assert facts["precision"] is None
    assert facts["source"]["name"] == "theirs.plan"
    (digest,) = facts["source"]["files"].values()
    assert digest == facts["files"]["model.plan"]["sha256"]
    assert "model.plan: intact" in kit("inspect", out / "manifest.json").output


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--release", "25.08"], ConvertError, "loads plans of 10.13.2.6"),
        (["--precision", "fp16"], SpecError, "precision cannot be changed"),
        (["--shape", "x:1,2,3"], SpecError, "profiles cannot be changed"),
        (["--option", "workspace=1G"], SpecError, "option workspace cannot"),
        (["--format", "onnx"], ConvertError, "expected onnx"),
        (["--format", "rtx"], ConvertError, "expected rtx"),
        (
            ["--release", "25.08", "--option", "version_compatible=true"],
            ConvertError,
            "loads plans of 10.13.2.6",  # an older TensorRT loads it in no case
        ),
    ],
)
def test_settings_that_a_prebuilt_plan_cannot_have_are_refused(
    kit, tmp_path, arguments, error, words
):
    plan, out = write_plan(tmp_path / "theirs.plan"), tmp_path / "out"
    form = [] if "--format" in arguments else ["--format", "plan"]

    result = kit("convert", plan, "-o", out, *form, *arguments)

    assert result.exit_code == error.exit_code, result.output
    assert words in result.output
    assert "hint:" in result.output
    assert not out.exists()


def test_a_version_compatible_plan_loads_in_a_newer_release(kit, tmp_path):
    plan = write_plan(tmp_path / "theirs.plan", version=(10, 5, 0, 18))
    asked = [
        "convert",
        plan,
        "-o",
        tmp_path / "out",
        "--artifact=plan",
        "--release=25.10",
    ]

    assert kit(*asked).exit_code == ConvertError.exit_code
    assert kit(*asked, "--option", "version_compatible=true").exit_code == 0


@needs_rtx
def test_an_engine_that_moves_keeps_what_its_manifest_says(order, tmp_path):
    built = convert(order("cnn", format="rtx", precision="fp16"))
    spec = order("cnn", source=built.artifact, output=tmp_path / "b" / "there.engine")
    again = {"format": "rtx", "profiles": (), "verify_data": None, "calibration": None}

    moved = convert(replace(spec, **again))

    assert moved.artifact.read_bytes() == built.artifact.read_bytes()
    assert moved.precision == "fp16"
    assert moved.accuracy == built.accuracy
    assert moved.inputs == built.inputs
    script = tmp_path / "b" / "reproduce.sh"
    assert script.read_text() == (built.artifact.parent / "reproduce.sh").read_text()


@needs_rtx
def test_an_engine_that_changed_since_its_manifest_is_refused(order, tmp_path):
    built = convert(order("cnn", format="rtx")).artifact
    built.write_bytes(built.read_bytes() + b"\0")
    again = {"format": "rtx", "profiles": (), "verify_data": None, "calibration": None}
    spec = order("cnn", source=built, output=tmp_path / "b" / "model.engine")

    with pytest.raises(ConvertError, match="changed since"):
        convert(replace(spec, **again))


@needs_rtx
def test_an_engine_cut_short_is_refused(kit, order, tmp_path):
    built = convert(order("cnn", format="rtx")).artifact
    cut = tmp_path / "cut.engine"
    cut.write_bytes(built.read_bytes()[:-1000])

    result = kit("convert", cut, "-o", tmp_path / "out", "--format", "rtx")

    assert result.exit_code == ConvertError.exit_code
    assert "cut short" in result.output


NOT_MANIFESTS = {
    "list": "[1]",
    "cut": "{",
    "number": "5",
    "null": "null",
    "deep": "[" * 100_000,
    "number as file": '{"files": {"theirs.plan": 1}}',
    "name outside": '{"files": {"../theirs.plan": {"sha256": "0"}}}',
}


@pytest.mark.parametrize("text", NOT_MANIFESTS.values(), ids=NOT_MANIFESTS)
def test_other_json_is_not_a_manifest(kit, tmp_path, text):
    plan = write_plan(tmp_path / "theirs.plan")
    (tmp_path / "manifest.json").write_text(text)

    result = kit("convert", plan, "-o", tmp_path / "out", "--format", "plan")

    assert result.exit_code == ConvertError.exit_code, result.output
    assert "not a manifest" in result.output
    assert "Traceback" not in result.output
    inspected = kit("inspect", tmp_path / "manifest.json")
    assert inspected.exit_code == ConvertError.exit_code, inspected.output
    assert "Traceback" not in inspected.output


def test_a_manifest_without_its_facts_is_refused(kit, tmp_path):
    plan = write_plan(tmp_path / "theirs.plan")
    files = {plan.name: {"sha256": hashlib.sha256(plan.read_bytes()).hexdigest()}}
    facts = {"files": files, "accuracy": 5}
    (tmp_path / "manifest.json").write_text(json.dumps(facts))

    result = kit("convert", plan, "-o", tmp_path / "out", "--artifact", "plan")

    assert result.exit_code == ConvertError.exit_code, result.output
    assert "not a manifest" in result.output


PROJECT = """
name: taken
targets:
  gpu: {triton: "25.10", format: plan, compute_capability: "9.0"}
  old: {triton: "25.08", format: plan}
  local: {format: onnx}
models:
  theirs:
    source: theirs.plan
    batching: {max_batch_size: 8}
"""
DECLARED = """
    inputs: {image: {dtype: fp32, shape: [3, 32, 32]}}
    outputs: {scores: {dtype: fp32, shape: [10]}}
"""


@pytest.fixture
def taken(tmp_path):
    """A project whose one model is a prebuilt plan."""
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "triton-kit.yaml").write_text(PROJECT)
    write_plan(folder / "theirs.plan")
    return folder


@pytest.mark.parametrize("declared", ["", DECLARED])
def test_a_project_publishes_a_prebuilt_plan(kit, taken, declared):
    file = taken / "triton-kit.yaml"
    file.write_text(file.read_text() + declared.lstrip("\n"))

    result = kit("build", taken, "--target", "gpu")

    assert result.exit_code == 0, result.output
    model = taken / "model_repository" / "theirs"
    plan = model / "1" / "model.plan"
    assert plan.read_bytes() == (taken / "theirs.plan").read_bytes()
    config = text_format.Parse((model / "config.pbtxt").read_text(), ModelConfig())
    assert config.backend == "tensorrt"
    assert config.max_batch_size == 8
    assert [i.name for i in config.input] == (["image"] if declared else [])
    facts = json.loads((model / "1" / "manifest.json").read_text())
    assert facts["source"]["file"] == "theirs.plan"
    assert facts["conversion"]["engine"]["version"] == "10.13.3.9"


@pytest.mark.parametrize(
    ("target", "words"),
    [("old", "loads plans of 10.13.2.6"), ("local", "expected onnx")],
)
def test_a_plan_that_does_not_fit_the_target_is_not_published(
    kit, taken, target, words
):
    result = kit("build", taken, "--target", target)

    assert result.exit_code == ConvertError.exit_code, result.output
    assert words in result.output
    assert not (taken / "model_repository").exists()


def test_settings_that_a_prebuilt_plan_ignores_are_reported(kit, taken):
    file = taken / "triton-kit.yaml"
    file.write_text(file.read_text() + "    precision: fp16\n")

    result = kit("build", taken, "--target", "gpu")

    assert result.exit_code == 0, result.output
    assert "precision: not applied" in result.output


@needs_no_tensorrt
def test_a_project_is_published_once_the_container_has_built_its_plans(kit, digits):
    file = digits / "triton-kit.yaml"
    project = yaml.safe_load(file.read_text())
    project["targets"]["gpu"] = {"triton": "25.10", "format": "plan"}
    project["models"]["again"] = project["models"]["digits"]
    file.write_text(yaml.safe_dump(project))
    first = kit("build", digits, "--target", "gpu")
    commands = [line for line in first.output.splitlines() if "docker run" in line]
    plans = [
        write_plan(digits / as_the_container_does(shlex.split(command)))
        for command in commands
    ]

    result = kit("build", digits, "--target", "gpu")

    assert first.exit_code == ConvertError.exit_code
    assert len({plan.parent for plan in plans}) == 2  # told at once, one per model
    assert result.exit_code == 0, result.output
    for name in ("digits", "again"):
        model = digits / "model_repository" / name
        assert (model / "1" / "model.plan").read_bytes() == plans[0].read_bytes()
        config = text_format.Parse((model / "config.pbtxt").read_text(), ModelConfig())
        assert config.backend == "tensorrt"
        assert [i.name for i in config.input] == ["image"]


def missing(folder):
    return MissingPlan(
        output=folder / "model.plan",
        onnx=folder / "model.onnx",
        plan=folder / "model-0123.plan",
        image="nvcr.io/nvidia/tensorrt:26.06-py3",
        words=("--onnx=/work/model.onnx", "--minShapes=x:1x4"),
    )


DOCKER = """#!/bin/sh
# Does what the container does with the mounted folder: writes the engine.
for word in "$@"; do case "$word" in
  *:/work) folder="${word%:/work}" ;;
  --saveEngine=/work/*) echo plan > "$folder/${word#--saveEngine=/work/}" ;;
esac; done
echo "$@" >> "$CALLS"
"""


def test_the_plan_script_builds_what_is_missing_wherever_it_lies(tmp_path):
    """On the other machine the folder has another path, and a space in it."""
    here, there = tmp_path / "here", tmp_path / "the other machine"
    for name in ("a", "b"):
        (here / name).mkdir(parents=True)
    write_plan_script([missing(here / "a"), missing(here / "b")], here)
    here.rename(there)
    (there / "b" / "model-0123.plan").write_text("built before")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    calls = tmp_path / "calls"
    env = os.environ | {"CALLS": str(calls)}
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"

    for _ in range(2):
        subprocess.run([there / PLAN_SCRIPT], env=env, check=True, cwd=tmp_path)

    assert (there / "a" / "model-0123.plan").read_text() == "plan\n"
    assert (there / "b" / "model-0123.plan").read_text() == "built before"
    assert len(calls.read_text().splitlines()) == 1
    assert str(tmp_path) not in (there / PLAN_SCRIPT).read_text()


def test_the_job_has_one_container_for_each_plan(tmp_path):
    plans = [missing(tmp_path / "a"), missing(tmp_path / "b")]

    write_plan_script(plans, tmp_path)

    job = yaml.safe_load((tmp_path / PLAN_JOB).read_text())
    pod = job["spec"]["template"]["spec"]
    both = [*pod["initContainers"], *pod["containers"]]
    assert [c["volumeMounts"][0]["subPath"] for c in both] == ["a", "b"]
    assert all("nvidia.com/gpu" in c["resources"]["limits"] for c in both)
    assert str(tmp_path) not in (tmp_path / PLAN_JOB).read_text()
