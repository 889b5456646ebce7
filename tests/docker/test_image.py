"""`triton-kit image`: the image serves the repository that was baked into it."""

import json
import subprocess
import time

import pytest
from docker_commands import docker, run_kit

IMAGE = "kit-digits:1"
NAME = "kit-image"
HARDENED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]


@pytest.fixture(scope="module")
def baked(engine, built_digits):
    done = run_kit("image", built_digits, "-t", IMAGE, "--release", "24.10")
    assert done.returncode == 0, done.stderr
    yield
    docker("image", "rm", "--force", IMAGE)


def test_it_serves_the_repository_as_user_1000(baked):
    key = "k" * 32
    words = ["--env", f"TRITON_KIT_KEY={key}", "--publish", "127.0.0.1::8000"]
    docker("run", "--detach", "--name", NAME, *HARDENED, *words, IMAGE)
    try:
        test = json.loads(docker("inspect", NAME))[0]["Config"]["Healthcheck"]["Test"]
        deadline_s = time.monotonic() + 60
        while subprocess.run(
            ["docker", "exec", NAME, *test[1:]], capture_output=True, check=False
        ).returncode:
            assert time.monotonic() < deadline_s, docker("logs", NAME)
            time.sleep(0.2)
        address = docker("port", NAME, "8000")
        answer = run_kit("infer", "-m", "digits", "-u", address, "--json")
        assert answer.returncode == 0, answer.stderr
        assert docker("exec", NAME, "id", "-u") == "1000"
    finally:
        docker("rm", "--force", NAME)


def test_without_a_key_it_does_not_start(baked):
    done = subprocess.run(
        ["docker", "run", "--rm", IMAGE], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "set it to the key of the control APIs" in done.stderr
    assert "Started" not in done.stdout + done.stderr


def test_a_repository_that_the_check_rejects_is_not_built(engine, tmp_path):
    (tmp_path / "models" / "broken").mkdir(parents=True)

    words = ("-t", "kit-broken:1", "--release", "24.10")
    done = run_kit("image", tmp_path / "models", *words)

    assert done.returncode == 7, done.stderr
    assert "kit-broken" not in docker("images", "--format", "{{.Repository}}")


def test_print_shows_the_dockerfile_without_an_engine(built_digits, tmp_path):
    done = run_kit(
        *("image", built_digits, "-t", IMAGE, "--release", "26.07", "--print"),
        env={"PATH": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("FROM nvcr.io/nvidia/tritonserver:26.07-py3\n")
