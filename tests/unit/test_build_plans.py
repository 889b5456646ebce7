"""A project for TensorRT on a machine without it: all but the plans is built."""

import json
import re
import struct
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from triton_kit import check_repository, errors

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt") is not None, reason="TensorRT is installed"
)
CLUSTER = {"triton": "25.10", "format": "plan", "compute_capability": "9.0"}
HEADER = b"ftrt" + struct.pack("<IQQ", 0, 0, 0) + bytes((10, 13, 3, 9)) + bytes(64)


@pytest.fixture
def cluster(digits):
    """Build digits for plans: `cluster(triton="25.06", precision="fp16")`."""
    path = digits / "triton-kit.yaml"
    document = yaml.safe_load(path.read_text())

    def change(target=None, **fields):
        document["targets"]["cluster"] = {**CLUSTER, **(target or {})}
        document["models"]["digits"] |= fields
        path.write_text(yaml.safe_dump(document))
        return digits

    return change


def put_plans(folder, release="25.10"):
    """Write a plan that is a header alone where the script would, for each model."""
    script = folder / ".triton-kit" / "plans" / "build-plans.sh"
    plans = re.findall(r"if \[ -s (\S+) \]", script.read_text())
    for plan in plans:
        (script.parent / plan).write_bytes(HEADER)
    return plans


def test_only_the_plans_are_missing_and_then_the_build_completes(kit, cluster):
    folder = cluster(builder={"workspace": "1G", "optimization_level": 0})
    repository = folder / "model_repository"

    first = kit("build", folder, "-t", "cluster")

    assert first.exit_code == errors.ConvertError.exit_code, first.output
    assert f"{repository} has all else" in first.output.replace("\n", "")
    assert "--builderOptimizationLevel=0" in first.output
    plans = folder / ".triton-kit" / "plans"
    assert (plans / "digits" / "model.onnx").is_file()
    facts = json.loads((repository / "digits" / "1" / "manifest.json").read_text())
    assert facts["missing"] == ["model.plan"]
    assert facts["conversion"]["accuracy"]["outputs"]
    assert {path.name for path in repository.iterdir()} == {
        *("decode", "digits", "read_digit")
    }
    (finding,) = check_repository(repository, server="25.10", gpus=1).findings
    assert finding.rule == "M22"
    assert "waits for its model.plan: only that is missing" in finding.message

    again = kit("build", folder, "-t", "cluster")
    assert again.exit_code == errors.ConvertError.exit_code
    assert [p.name for p in (repository / "digits").iterdir() if p.is_dir()] == ["1"]

    put_plans(folder)
    second = kit("build", folder, "-t", "cluster")

    assert second.exit_code == 0, second.output
    assert "digits  version 1  new" in second.output
    report = check_repository(repository, server="25.10", gpus=1)
    assert report.findings == ()


def test_a_repository_that_serves_a_plan_keeps_it(kit, cluster):
    folder = cluster()
    kit("build", folder, "-t", "cluster")
    put_plans(folder)
    kit("build", folder, "-t", "cluster")

    cluster(
        inputs={
            "image": {"min": [1, 1, 8, 8], "opt": [2, 1, 8, 8], "max": [64, 1, 8, 8]}
        }
    )
    result = kit("build", folder, "-t", "cluster")

    assert result.exit_code == errors.ConvertError.exit_code
    assert "is as it was: it has an older digits, with a plan" in result.output
    report = check_repository(folder / "model_repository", server="25.10", gpus=1)
    assert report.findings == ()


@pytest.mark.parametrize(
    ("release", "precision", "words"),
    [
        ("24.04", "fp16", ["--fp16"]),
        ("24.04", "fp32", []),
        ("25.06", "fp16", ["--stronglyTyped"]),
        ("26.06", "fp16", ["--stronglyTyped"]),
    ],
)
def test_the_flags_for_precision_are_those_of_the_release(
    kit, cluster, release, precision, words
):
    folder = cluster({"triton": release}, precision=precision)

    kit("build", folder, "-t", "cluster", "--only", "digits")

    script = (folder / ".triton-kit" / "plans" / "build-plans.sh").read_text()
    typing = re.findall(r"--(?:stronglyTyped|fp16|int8|bf16)\b", script)
    assert typing == words


def test_the_profile_of_a_plan_ends_at_max_batch_size(kit, cluster):
    """And the script and the Job have no path of this machine."""
    folder = cluster({"triton": "26.06"}, inputs={}, batching={"max_batch_size": 64})

    result = kit("build", folder, "-t", "cluster", "--only", "digits")

    assert "--maxShapes=image:64x1x8x8" in result.output
    plans = folder / ".triton-kit" / "plans"
    for name in ("build-plans.sh", "build-plans-job.yaml"):
        text = (plans / name).read_text()
        assert "--maxShapes=image:64x1x8x8" in text
        assert str(folder) not in text
    job = yaml.safe_load((plans / "build-plans-job.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "nvcr.io/nvidia/tensorrt:26.06-py3"


def test_the_script_resumes_where_it_stopped(kit, cluster, tmp_path):
    """With a stand-in for docker that writes what trtexec would."""
    folder = cluster()
    kit("build", folder, "-t", "cluster", "--only", "digits")
    moved = tmp_path / "elsewhere"
    (folder / ".triton-kit" / "plans").rename(moved)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        "#!/bin/bash\n"
        'while [ "$1" != -v ]; do shift; done; host=${2%%:*}; echo run >> "$LOG"\n'
        "for word; do\n"
        "  case $word in --saveEngine=*) name=${word#*=/work/};; esac\n"
        "done\n"
        'printf plan > "$host/$name"\n'
    )
    docker.chmod(0o755)
    log = tmp_path / "log"
    env = {"PATH": f"{docker.parent}:/usr/bin:/bin", "LOG": str(log)}

    for _ in range(2):
        subprocess.run([moved / "build-plans.sh"], check=True, env=env, cwd="/")

    assert log.read_text() == "run\n"
    assert len(list(Path(moved, "digits").glob("model-*.plan"))) == 1
