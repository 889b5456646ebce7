import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

WITHIN_S = 60


def answered(loaded):
    """Requests to mlp that the server itself has counted."""
    url = f"{loaded.http_url}/v2/models/mlp/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        stats = json.load(answer)["model_stats"][0]["inference_stats"]
    return stats["success"]["count"]


def wait_for_answers(process, loaded, count):
    """Wait until the server has answered a child so many requests."""
    deadline = time.monotonic() + WITHIN_S
    before = answered(loaded)
    while answered(loaded) < before + count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no load came"
        time.sleep(0.02)


def test_ctrl_c_prints_what_was_measured(loaded, tmp_path):
    path = tmp_path / "result.json"
    kit = Path(sys.executable).with_name("triton-kit")
    argv = [str(kit), "perf", "-m", "mlp", "-u", loaded.http_url, "-p", "600000"]
    argv += ["--concurrency-range", "4", "--warm-up", "0", "--json", str(path)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for_answers(process, loaded, 50)
            os.kill(process.pid, signal.SIGINT)
            stdout, stderr = process.communicate(timeout=WITHIN_S)
        finally:
            process.kill()
    [run] = json.loads(path.read_text())["runs"]

    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "interrupted: the last load was not measured to its end" in stdout
    assert "concurrency 4" in stdout
    assert run["requests"] > 0
    assert run["throughput"] > 0
