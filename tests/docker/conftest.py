"""A Docker engine with the stand-in image, for the tests of this folder."""

import os
import subprocess
from pathlib import Path

import pytest

from triton_kit.api import build
from triton_kit.project.scaffold import scaffold

ROOT = Path(__file__).parents[2]
NO_ENGINE = 3  # exit code of scripts/docker-engine: this machine cannot have one


@pytest.fixture(scope="session")
def engine():
    """Start this checkout's own engine, or use that of DOCKER_HOST."""
    if "DOCKER_HOST" not in os.environ:
        script = ROOT / "scripts" / "docker-engine"
        done = subprocess.run([script], capture_output=True, text=True, check=False)
        if done.returncode == NO_ENGINE:
            pytest.skip(done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, done.stderr
        os.environ["DOCKER_HOST"] = done.stdout.strip()


@pytest.fixture(scope="session")
def built_digits(tmp_path_factory):
    """The digits project, built: an ONNX model, a Python one and a pipeline."""
    folder = tmp_path_factory.mktemp("project") / "digits"
    scaffold("digits", folder)
    build(folder)
    return folder
