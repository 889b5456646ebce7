"""Packages and interpreters of Python models, on the embedded server."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from triton_kit import check_repository
from triton_kit.build_project import build
from triton_kit.project.load import load_project
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec
from wheels import write_wheel

pytestmark = pytest.mark.server

MODEL = """
import sys
import numpy as np
import tiny
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        text = f"{tiny.VALUE} {sys.prefix} {sys.version_info.minor}"
        y = pb_utils.Tensor("y", np.array([text], dtype=object))
        return [pb_utils.InferenceResponse([y]) for _ in requests]
"""
CACHE = Path(__file__).parents[2] / ".cache"
PROJECT = """
name: environments
models:
  packed:
    source: m.py
    inputs: {x: {dtype: fp32, shape: [1]}}
    outputs: {y: {dtype: string, shape: [1]}}
    requirements: requirements.txt
  own:
    source: m.py
    inputs: {x: {dtype: fp32, shape: [1]}}
    outputs: {y: {dtype: string, shape: [1]}}
    python: "second env/bin/python"
"""


def make_other_interpreter():
    """Return another Python than this one, with a numpy from PyPI; made once."""
    for minor in (12, 10, 11, 9):
        program = find_python(minor)
        if minor == sys.version_info.minor or program is None:
            continue
        folder = CACHE / f"python-3.{minor}"
        python = folder / "bin" / "python"
        if not (folder / "made").exists():
            subprocess.run([program, "-m", "venv", str(folder)], check=True)
            install = [str(python), "-m", "pip", "install", "-q", "numpy<2"]
            subprocess.run(install, check=True)
            (folder / "made").touch()
        return python, minor
    return None


def find_python(minor):
    """Return a Python that starts: a version manager leaves names that do not."""
    pyenv = Path.home() / ".pyenv" / "versions"
    names = [f"python3.{minor}", *map(str, pyenv.glob(f"3.{minor}.*/bin/python3"))]
    for name in names:
        try:
            done = subprocess.run([name, "-c", ""], capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return name
    return None


def make_interpreter(folder):
    """Make a second venv: this Python's numpy, and a `tiny` that nothing else has."""
    argv = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(argv, check=True)
    inside = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    site = folder / inside
    for name in ("numpy", "numpy.libs"):
        (site / name).symlink_to(Path(np.__file__).parents[1] / name)
    (site / "tiny.py").write_text("VALUE = 'of its own'\n")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each model says of its Python, by model; and the second venv."""
    folder = tmp_path_factory.mktemp("environments")
    (folder / "m.py").write_text(MODEL)
    (folder / "triton-kit.yaml").write_text(PROJECT)
    write_wheel(folder / "wheels", "tiny", "1", "VALUE = 'packed'\n")
    text = "--no-index\n--find-links wheels\ntiny==1\n"
    (folder / "requirements.txt").write_text(text)
    make_interpreter(folder / "second env")
    repository = build(load_project(folder)).repository
    found = {}
    with running(ServeSpec(repository=repository)) as server:
        client = InferenceServerClient(server.http_url.removeprefix("http://"))
        given = InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, "f4"))
        for name in server.models:
            found[name] = client.infer(name, [given]).as_numpy("y")[0].decode()
        client.close()
    return found, folder / "second env"


def test_a_model_imports_what_was_packed_for_it(answers):
    found, _ = answers

    assert found["packed"].startswith("packed ")


def test_a_model_runs_with_the_interpreter_that_it_names(answers):
    found, folder = answers

    assert found["own"] == f"of its own {folder} {sys.version_info.minor}"


OTHER = """
name: other
models:
  other:
    source: m.py
    inputs: {{x: {{dtype: fp32, shape: [1]}}}}
    outputs: {{y: {{dtype: string, shape: [1]}}}}
    python: {python}
"""


@pytest.mark.long
def test_a_model_runs_with_another_version_of_python(tmp_path):
    made = make_other_interpreter()
    if made is None:
        pytest.skip("no other Python is installed here")
    python, minor = made
    (tmp_path / "m.py").write_text(MODEL.replace("tiny.VALUE", "'other'", 1))
    text = (tmp_path / "m.py").read_text().replace("import tiny\n", "")
    (tmp_path / "m.py").write_text(text)
    (tmp_path / "triton-kit.yaml").write_text(OTHER.format(python=python))
    repository = build(load_project(tmp_path)).repository

    with running(ServeSpec(repository=repository)) as server:
        client = InferenceServerClient(server.http_url.removeprefix("http://"))
        given = InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, "f4"))
        found = client.infer("other", [given]).as_numpy("y")[0].decode()
        client.close()

    assert found == f"other {python.parents[1]} {minor}"
    stub = repository / "other" / "triton_python_backend_stub"
    assert stub.stat().st_mode & 0o777 == 0o755  # Triton leaves it as it was
    assert check_repository(repository).findings == ()
