"""A Docker engine with the stand-in image, for the tests of this folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from triton_kit.api import build
from triton_kit.project.scaffold import scaffold

ROOT = Path(__file__).parents[2]


def why_no_engine():
    if os.geteuid() != 0:
        return "a Docker engine of its own needs root"
    if not shutil.which("dockerd") and not shutil.which("apt-get"):
        return "no dockerd, and no apt-get to install it"
    return ""


@pytest.fixture(scope="session")
def engine():
    """Start this checkout's own engine, or use that of DOCKER_HOST."""
    if "DOCKER_HOST" not in os.environ:
        reason = why_no_engine()
        if reason and not os.environ.get("CI"):
            pytest.skip(reason)
        script = ROOT / "scripts" / "docker-engine"
        done = subprocess.run([script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        os.environ["DOCKER_HOST"] = done.stdout.strip()


@pytest.fixture(scope="session")
def built_digits(tmp_path_factory):
    """The digits project, built: an ONNX model, a Python one and a pipeline."""
    folder = tmp_path_factory.mktemp("project") / "digits"
    scaffold("digits", folder)
    build(folder)
    return folder
