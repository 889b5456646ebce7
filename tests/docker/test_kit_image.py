"""The kit's own image: the commands of docker/README.md, as a user runs them."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from docker_commands import docker, run_kit, served
from kit_image import IMAGE

from triton_kit.project.scaffold import scaffold

ROOT = Path(__file__).parents[2]
README = (ROOT / "docker" / "README.md").read_text()
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]

pytestmark = pytest.mark.usefixtures("engine")


def run_as_documented(command, cwd, *more, url=""):
    """Run the line of the README that runs a command of the kit."""
    [line] = re.findall(
        rf"^docker run .* triton-kit:local {command}\b.*$", README, re.M
    )
    line = line.replace("triton-kit:local", IMAGE).replace("localhost:8000", url)
    words = line.replace("docker run", shlex.join(["docker", "run", *HARDENED]), 1)
    return subprocess.run(
        ["sh", "-c", f"{words} {shlex.join(more)}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_has_what_is_installed_and_nothing_else():
    found = json.loads(docker("image", "inspect", IMAGE))[0]
    shell = ("run", "--rm", "--entrypoint", "sh", IMAGE, "-c")
    left = docker(*shell, "ls -A /work; ls -d /src* /opt/* || true; id -u")

    assert found["Config"]["User"] == "1000:1000"
    assert found["Config"]["Entrypoint"] == ["triton-kit"]
    assert found["Size"] < 900 << 20
    assert left.split() == ["/opt/triton-kit", "1000"]


def test_doctor_says_what_works_in_it(tmp_path):
    done = run_as_documented("doctor", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "yes  build: ONNX models to a repository" in done.stdout
    assert "no   serve: the embedded tritonserver" in done.stdout


def test_build_writes_the_repository_of_a_mounted_project(tmp_path):
    scaffold("digits", tmp_path / "my-project")

    done = run_as_documented("build", tmp_path)

    assert done.returncode == 0, done.stderr
    checked = run_kit("validate", tmp_path / "my-project" / "model_repository")
    assert checked.returncode == 0, checked.stdout


def test_perf_reaches_a_server_of_this_machine(built_digits, tmp_path):
    with served(built_digits) as (_, facts):
        url = facts["http_address"]
        done = run_as_documented("perf", tmp_path, "--request-count", "20", url=url)

    assert done.returncode == 0, done.stderr
    assert "p99" in done.stdout
