import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.server

WITHIN_S = 60


def wait_for_connections(process, port):
    """Wait until a child talks to the server, which it does once it puts load on it."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        connections = psutil.Process(process.pid).net_connections(kind="tcp")
        ports = [c.raddr.port for c in connections if c.raddr]
        if ports.count(port) >= 4:
            return
        time.sleep(0.02)
    raise AssertionError("no load came")


def test_ctrl_c_prints_what_was_measured(loaded, tmp_path):
    path = tmp_path / "result.json"
    kit = Path(sys.executable).with_name("triton-kit")
    port = int(loaded.http_url.rpartition(":")[2])
    argv = [str(kit), "perf", "-m", "mlp", "-u", loaded.http_url, "-p", "600000"]
    argv += ["--concurrency-range", "4", "--warm-up", "0", "--json", str(path)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_connections(process, port)
        time.sleep(0.3)  # so that there is something to print
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=WITHIN_S)
    [run] = json.loads(path.read_text())["runs"]

    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "interrupted: the last load was not measured to its end" in stdout
    assert "concurrency 4" in stdout
    assert run["requests"] > 0
    assert run["throughput"] > 0
