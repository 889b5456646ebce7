"""`triton-kit serve` as a child process, stopped and broken from outside."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tritonclient.http import InferenceServerClient

from triton_kit.errors import TransportError
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server

COMMAND = [sys.executable, "-m", "triton_kit", "serve"]
WITHIN_S = 60
ROOT = Path(__file__).parents[2]


@contextmanager
def serving(repository, *options):
    """Start the command; yield it and the endpoints it printed; kill it if need be."""
    process = subprocess.Popen(
        [*COMMAND, str(repository), "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=WITHIN_S)[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def is_ready(control):
    try:
        return control.is_model_ready("identity")
    except TransportError:
        return False


def still_running(processes):
    """Those that have not ended; a zombie has, its parent only did not ask."""
    _, left = psutil.wait_procs(processes, timeout=10)
    return [p for p in left if p.status() != psutil.STATUS_ZOMBIE]


def regions_of(process):
    return list(Path("/dev/shm").glob(f"triton-kit-{process.pid}-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(tmp_path, write_identity, number):
    write_identity(tmp_path, "identity")

    with serving(tmp_path) as (process, endpoints):
        assert HttpControl(endpoints["http_url"]).is_model_ready("identity")
        assert endpoints["models"] == ["identity"]
        assert endpoints["version"] == "2.51.0"
        assert endpoints["http_url"] == f"http://{endpoints['http_address']}"
        assert InferenceServerClient(endpoints["http_address"]).is_server_ready()
        family = psutil.Process(process.pid).children(recursive=True)
        regions = regions_of(process)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 0
    assert stdout == ""  # after the one line of JSON
    assert "development only" in stderr
    assert stderr.endswith("stopped\n")
    assert len(family) >= 2
    assert still_running(family) == []
    assert regions
    assert not any(region.exists() for region in regions)


def test_a_signal_while_the_models_load_leaves_nothing(tmp_path, write_model):
    loading = tmp_path / "loading"
    code = (
        f"import pathlib, time\npathlib.Path({str(loading)!r}).touch()\ntime.sleep(60)"
    )
    repository = tmp_path / "repository"
    config = 'backend: "python"'
    write_model(repository, "slow", {"1/model.py": code}, config=config)
    with subprocess.Popen(
        [*COMMAND, str(repository), "--stop-timeout", "0.1"]
    ) as process:
        while not loading.exists():
            assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        code = process.wait(WITHIN_S)

    assert code == 128 + signal.SIGTERM
    assert family
    assert still_running(family) == []
    assert regions_of(process) == []


def test_a_killed_server_ends_it_with_the_reason_and_the_log(tmp_path, write_identity):
    write_identity(tmp_path, "identity")

    with serving(tmp_path) as (process, endpoints):
        os.kill(endpoints["pid"], signal.SIGKILL)
        _, stderr = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 5
    assert "Error: tritonserver ended while it was in use: killed by SIGKILL" in stderr
    assert "Started HTTPService" in stderr
    assert "Traceback" not in stderr
    assert regions_of(process) == []


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda path: None, 2, "no such folder"),
        (lambda path: path.write_text("x"), 2, "expected a folder, found a file"),
        (lambda path: path.mkdir(), 7, "found nothing"),
        (lambda path: (path / "1").mkdir(parents=True), 7, "holds versions"),
    ],
    ids=["missing", "file", "empty", "one level too deep"],
)
def test_a_path_that_is_no_repository_is_an_error(tmp_path, make, code, message):
    path = tmp_path / "repository"
    make(path)

    ended = subprocess.run(
        [*COMMAND, path], capture_output=True, text=True, check=False
    )

    assert ended.returncode == code
    assert message in ended.stderr
    assert str(path) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_inside_a_project_its_repository_is_the_default(kit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = kit("serve")
    (tmp_path / "triton-kit.yaml").touch()
    unbuilt = kit("serve")
    (tmp_path / "model_repository").mkdir()
    empty = kit("serve", tmp_path)

    assert missing.exit_code == 2
    assert "Missing argument '[REPOSITORIES]...'" in missing.stderr
    assert unbuilt.exit_code == 2
    assert "hint: triton-kit build ." in unbuilt.stderr
    assert empty.exit_code == 7
    assert "model_repository: looked for" in empty.stderr


def test_the_python_example_in_the_docs_runs():
    (example,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "serve.md").read_text(), re.M | re.S
    )

    ended = subprocess.run(
        [sys.executable, "-c", example],
        cwd=ROOT,  # where the example repository is
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "http://127.0.0.1:" in ended.stdout
    assert "'read_digit'" in ended.stdout


def test_the_endpoints_are_printed_for_people_too(tmp_path, write_identity):
    write_identity(tmp_path, "identity")

    with subprocess.Popen(
        [*COMMAND, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = [process.stdout.readline() for _ in range(9)]
        process.terminate()
        process.communicate(timeout=WITHIN_S)

    assert lines[0].startswith("tritonserver 2.51.0, ready after ")
    assert lines[1].split()[0] == "http"
    assert lines[4].split() == ["models", "identity"]
    assert lines[5].split()[:2] in (["onnx", "native"], ["onnx", "python"])
    assert lines[7].split()[0] == "key"
    assert lines[8] == "Ctrl-C stops it.\n"


def test_the_printed_command_starts_the_same_server(tmp_path, write_identity):
    write_identity(tmp_path / "models", "identity")
    words = [*COMMAND, str(tmp_path / "models"), "--print"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True)
    [port] = re.findall(r"--http-port=(\d+)", printed.stdout)
    assert "x-triton-key=$TRITON_KIT_KEY" in printed.stdout

    process = subprocess.Popen(
        ["sh", "-c", printed.stdout],
        env={"TRITON_KIT_KEY": "k" * 20, "HOME": str(tmp_path)},
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        control = HttpControl(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + WITHIN_S
        while not is_ready(control):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
