"""The server in a container: it serves, is closed in, and never stays behind."""

import io
import json
import os
import signal
import stat
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from docker_commands import (
    IN_DOCKER,
    await_absence,
    docker,
    is_there,
    run_kit,
    served,
    write_python_model,
)
from PIL import Image

from triton_kit.serving.containers.launcher import (
    ContainerOptions,
    accept,
    prepare,
)
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture(scope="module")
def digits_server(engine, built_digits):
    """The digits project in a container; yields what `serve --json` printed."""
    with served(built_digits, *IN_DOCKER) as (_, facts):
        yield facts


@pytest.fixture
def identity(tmp_path):
    return write_python_model(tmp_path / "models", "identity")


def test_a_model_and_a_pipeline_answer(digits_server, tmp_path):
    image = np.zeros((8, 8), np.uint8)
    image[1:7, 3:5] = 255  # a one
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    np.savez(tmp_path / "image.npz", image=(image / 16.0)[None, None].astype("f4"))
    np.savez(tmp_path / "png.npz", png=np.array([[file.getvalue()]]))
    classes = []
    for model, name in (("digits", "image"), ("read_digit", "png")):
        done = run_kit(
            *("infer", "-m", model, "-u", digits_server["http_url"], "--json"),
            *("--input-data", tmp_path / f"{name}.npz"),
        )
        assert done.returncode == 0, done.stderr
        scores = json.loads(done.stdout)["outputs"]["scores"]["values"]
        classes.append(int(np.argmax(scores)))

    assert classes == [1, 1]
    assert digits_server["models"] == ["decode", "digits", "read_digit"]
    assert digits_server["version"] == "2.51.0"


def test_perf_runs_against_it(digits_server, tmp_path):
    for protocol in ("http", "grpc"):
        done = run_kit(
            *("perf", "-m", "digits", "-i", protocol),
            *("-u", digits_server[f"{protocol}_url"], "--request-count", 50),
            *("--json", tmp_path / "result.json"),
        )
        assert done.returncode == 0, done.stderr
        [run] = json.loads((tmp_path / "result.json").read_text())["runs"]
        assert run["errors"] in ({}, [], 0)


def inside(facts, *command):
    return docker("exec", facts["container"], *command)


def test_the_container_has_no_more_than_it_needs(digits_server):
    found = json.loads(docker("inspect", digits_server["container"]))[0]
    status = dict(
        line.split(":\t", 1)
        for line in inside(digits_server, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )

    assert status["Uid"].split() == ["1000"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for path in ("/opt/tritonserver/x", "/models/x", "/models/digits/1/x", "/etc/x"):
        assert "Read-only" in inside(
            digits_server, "sh", "-c", f"touch {path} 2>&1 || true"
        )
    assert inside(digits_server, "sh", "-c", "touch /tmp/x && echo yes") == "yes"
    assert found["HostConfig"]["ShmSize"] == 256 << 20
    assert {
        binding["HostIp"]
        for bindings in found["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    } == {"127.0.0.1"}


def test_its_health_is_that_of_every_model(digits_server):
    test = json.loads(docker("inspect", digits_server["container"]))[0]["Config"][
        "Healthcheck"
    ]["Test"][1]
    broken = test.replace("/v2/models/digits/ready", "/v2/models/nope/ready")

    assert inside(digits_server, "sh", "-c", f"{test} && echo healthy") == "healthy"
    assert "/v2/models/read_digit/ready" in test
    assert "404" in inside(digits_server, "sh", "-c", f"{broken} 2>&1 || true") or (
        "400" in inside(digits_server, "sh", "-c", f"{broken} 2>&1 || true")
    )


def test_the_key_is_in_no_command_line_but_the_servers(digits_server):
    path = Path(digits_server["key_file"])
    key = path.read_text().strip()
    found = json.loads(docker("inspect", digits_server["container"]))[0]
    mine = [
        " ".join(process.info["cmdline"] or ())
        for process in psutil.process_iter(["cmdline"])
    ]

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in json.dumps([found["Config"]["Cmd"], found["Args"]])
    assert key not in docker("logs", digits_server["container"])
    holders = [line for line in mine if key in line]
    assert len(holders) == 1
    assert holders[0].startswith("tritonserver ")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)]
)
def test_no_container_outlives_the_command(identity, number, code):
    with served(identity, *IN_DOCKER) as (process, facts):
        assert is_there(facts["container"])
        os.kill(process.pid, number)
        process.wait(60)
        await_absence(facts["container"])

    assert process.returncode == code


def test_the_next_start_removes_what_a_killed_kit_and_engine_program_left(identity):
    with served(identity, *IN_DOCKER) as (process, facts):
        program = psutil.Process(facts["pid"])
        os.kill(program.pid, signal.SIGSTOP)  # it hands no signal on
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        os.kill(program.pid, signal.SIGKILL)
        time.sleep(0.5)
        assert is_there(facts["container"])

        prepare(
            ServeSpec(repository=identity), ContainerOptions(release="24.10"), accept
        )

        assert not is_there(facts["container"])


def test_a_detached_server_is_listed_logged_and_stopped(identity):
    started = run_kit(
        *("serve", identity, *IN_DOCKER, "--detach", "--json", "--name", "kit-detached")
    )
    assert started.returncode == 0, started.stderr
    facts = json.loads(started.stdout)
    key_file = Path(facts["key_file"])
    try:
        [listed] = [
            s
            for s in json.loads(run_kit("ps", "--json").stdout)
            if s["name"] == "kit-detached"
        ]
        again = run_kit("serve", identity, *IN_DOCKER, "--name", "kit-detached")
        logs = run_kit("logs", "kit-detached")
        mistyped = run_kit("stop", "kit-detach")
        assert listed == facts
        assert "successfully loaded 'identity'" in logs.stdout + logs.stderr
        assert (again.returncode, mistyped.returncode) == (2, 2)
        assert "there is a container of this name" in again.stderr
        assert "did you mean 'kit-detached'?" in mistyped.stderr
        assert key_file.exists()
    finally:
        stopped = run_kit("stop", "kit-detached")

    assert stopped.returncode == 0, stopped.stderr
    assert not is_there("kit-detached")
    assert not key_file.exists()
