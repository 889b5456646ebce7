"""A cluster that this machine is no part of, through the Ray client."""

import json
import subprocess
import sys

import pytest
from clusters import contents_of

pytestmark = pytest.mark.server


def run(*words):
    """Run a command as a client of its own."""
    return subprocess.run(
        [sys.executable, "-m", "triton_kit", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_perf_through_the_client(server, head):
    words = ["perf", "-m", "mlp", "-u", server.http_url, "--request-count", "300"]
    words += ["--request-rate-range", "300", "--processes", "2", "--executor", head]
    done = run(*words, "--json")

    assert done.returncode == 0, done.stderr
    [load] = json.loads(done.stdout)["runs"]
    assert (load["requests"], load["errors"]) == (300, 0)


def test_build_through_the_client(nets, head, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    local = run("build", nets, "-o", here, "--no-cache", "-j", "2")
    remote = run("build", nets, "-o", there, "--no-cache", "--executor", head)

    assert local.returncode == remote.returncode == 0, remote.stderr
    assert contents_of(here) == contents_of(there)


def test_convert_through_the_client(nets, head, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    local = run("convert", nets / "net.onnx", "-o", here)
    remote = run("convert", nets / "net.onnx", "-o", there, "--executor", head)

    assert local.returncode == remote.returncode == 0, remote.stderr
    where, *stages = remote.stderr.splitlines()
    assert where.startswith("on node ")
    assert stages == local.stderr.splitlines()
    assert contents_of(here) == contents_of(there)
