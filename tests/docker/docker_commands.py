"""The engine asked by its own program, and the kit's command run as a user runs it."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

KIT = [sys.executable, "-m", "triton_kit"]
IN_DOCKER = ["--launcher", "docker", "--release", "24.10"]
WITHIN_S = 120
PYTHON_CONFIG = """backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
IDENTITY = """import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep({delay_s})
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", request.inputs()[0].as_numpy())]
            )
            for request in requests
        ]
"""


def docker(*words):
    """Return what the engine prints."""
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def is_there(container):
    """Whether the engine has a container of this name, in any state."""
    return container in docker("ps", "--all", "--format", "{{.Names}}").split()


def await_absence(container, *, within_s=60):
    """Wait until no container has this name; returns the seconds that it took."""
    began = time.monotonic()
    while is_there(container):
        assert time.monotonic() - began < within_s, f"{container} is still there"
        time.sleep(0.1)
    return time.monotonic() - began


def write_python_model(repository, name, *, code=None, delay_s=0.0):
    """Write a Python model: float32 x, shape (batch, n), as y, or other code."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(code or IDENTITY.format(delay_s=delay_s))
    (repository / name / "config.pbtxt").write_text(PYTHON_CONFIG)
    return repository


@contextmanager
def served(repository, *words, **popen):
    """Run `triton-kit serve --json`; yields its process and what it printed."""
    argv = [*KIT, "serve", str(repository), "--json", *words]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen
    )
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=WITHIN_S)


def run_kit(*words, env=None):
    """Run a command of the kit to its end."""
    return subprocess.run(
        [*KIT, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env=os.environ | (env or {}),
    )
