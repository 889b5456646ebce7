"""What is tried twice, and what is not, in a run of pytest of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# A process by the server's name, which the tests of one session share.
INNER = """
import os, shutil, signal, subprocess
from collections import Counter
import pytest

tries = Counter()

@pytest.fixture(autouse=True)
def count(request):
    tries[request.node.name] += 1

@pytest.fixture(scope="session")
def server(tmp_path_factory):
    binary = tmp_path_factory.mktemp("bin") / "tritonserver"
    binary.symlink_to(shutil.which("sleep"))
    process = subprocess.Popen([binary, "60"])
    yield process
    process.kill()
    process.wait()

def die(server):
    server.send_signal(signal.SIGSEGV)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)

def test_meets_a_dying_server(server):
    if tries["test_meets_a_dying_server"] == 1:
        die(server)
        assert False

def test_finds_a_new_server(server):
    assert server.poll() is None

def test_meets_a_dead_model():
    error = "gRPC INTERNAL: Stub process 'mlp_0_0' is not healthy."
    assert tries["test_meets_a_dead_model"] == 2, error

def test_fails_beside_a_server(server):
    assert tries["test_fails_beside_a_server"] == 2

def test_fails_by_itself():
    assert tries["test_fails_by_itself"] == 2

def test_ends_every_server(server):
    die(server)
    assert tries["test_ends_every_server"] == 3

def test_ends_the_server_and_passes(server):
    server.kill()
    server.wait()
    assert tries["test_ends_the_server_and_passes"] == 1
"""
PASSED = {
    "test_meets_a_dying_server",
    "test_finds_a_new_server",
    "test_meets_a_dead_model",
    "test_ends_the_server_and_passes",
}
FAILED = {
    "test_fails_beside_a_server",
    "test_fails_by_itself",
    "test_ends_every_server",
}


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n1")], ids=["0", "1"])
def test_only_a_test_whose_server_died_is_tried_twice(tmp_path, workers):
    (tmp_path / "test_inner.py").write_text(INNER)
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(TESTS)}
    pytest_here = (sys.executable, "-m", "pytest", "-p", "second_try", "-rA")

    said = subprocess.run(
        (*pytest_here, *workers, "test_inner.py"),
        env=os.environ | alone,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    ).stdout

    assert set(re.findall(r"^PASSED test_inner.py::(\w+)", said, re.M)) == PASSED, said
    assert set(re.findall(r"^FAILED test_inner.py::(\w+)", said, re.M)) == FAILED
    _, _, told = said.partition("= run once more, as Triton died =")
    told = re.sub(r"tritonserver \d+", "tritonserver PID", told).splitlines()
    assert told[1:4] == [
        "test_inner.py::test_meets_a_dying_server: tritonserver PID ended",
        "test_inner.py::test_meets_a_dead_model: Stub process 'mlp_0_0' is not healthy",
        "test_inner.py::test_ends_every_server: tritonserver PID ended",
    ]
