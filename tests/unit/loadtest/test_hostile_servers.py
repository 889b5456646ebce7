"""Servers that behave badly: each costs an error in one sentence, within a deadline."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile_server import BEHAVIOURS, INFER

SERVER = Path(__file__).with_name("hostile_server.py")
MEMORY_BYTES = 1 << 30
# A question has 10 s; the rest is the start of the command on a busy machine.
WITHIN_S = 60.0
TRANSPORT_ERROR = 6
AT_ONCE = 6


@contextmanager
def hostile(behaviour):
    """Run the server in a process of its own; yield its port."""
    argv = [sys.executable, str(SERVER), behaviour]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def ask(behaviour, *words, protocol=None):
    """Load-test a hostile server; return how the command ended, and its duration."""
    protocol = protocol or behaviour.partition("_")[0]
    with hostile(behaviour) as port:
        argv = [sys.executable, "-P", "-m", "triton_kit", "perf", "-m", "m"]
        argv += [
            "-i",
            protocol,
            "-u",
            f"127.0.0.1:{port}",
            "--request-count",
            "1",
            *words,
        ]
        began_s = time.monotonic()
        ended = subprocess.run(
            ["prlimit", f"--as={MEMORY_BYTES}", *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * WITHIN_S,
            env={"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        )
        return ended, time.monotonic() - began_s


@pytest.fixture(scope="module")
def outcomes():
    """Ask several at once: most of the time is waiting."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(ask, name) for name in BEHAVIOURS}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_hostile_server_costs_one_sentence(outcomes, behaviour):
    ended, used_s = outcomes[behaviour].result()

    assert ended.returncode == TRANSPORT_ERROR, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("Error: ") or "\nError: " in ended.stderr
    assert used_s < WITHIN_S


@pytest.mark.parametrize("behaviour", INFER)
def test_a_response_that_does_not_end_is_a_failed_request(behaviour, tmp_path):
    data = tmp_path / "data.json"
    values = [{"x": [1, 2, 3, 4]}]
    # What is compared is kept, so it has a limit.
    data.write_text(json.dumps({"data": values, "validation_data": values}))

    ended, _ = ask(behaviour, "--input-data", str(data), protocol="http")

    assert ended.returncode == 1, ended.stderr
    output = ended.stdout + ended.stderr
    assert "a response of more than" in output, output
