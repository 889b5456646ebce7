"""What goes wrong with containers: one line, a hint, nothing left."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from docker_commands import (
    IDENTITY,
    IN_DOCKER,
    KIT,
    docker,
    is_there,
    run_kit,
    write_python_model,
)

NAME = "kit-errors"
NO_PACKAGE = "import a_package_that_is_nowhere\n" + IDENTITY.format(delay_s=0)
SLOW = "import time\ntime.sleep(30)\n" + IDENTITY.format(delay_s=0)


@pytest.fixture
def identity(tmp_path):
    return write_python_model(tmp_path / "models", "identity")


def refused(*words, env=None, code):
    """Return the message of a start that fails; no container may be left."""
    done = run_kit("serve", *words, "--name", NAME, env=env)

    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not is_there(NAME)
    return done.stderr


@pytest.mark.parametrize("detach", [[], ["--detach"]], ids=["attached", "detached"])
def test_a_model_that_does_not_load_is_named_with_its_reason(engine, tmp_path, detach):
    write_python_model(tmp_path / "models", "identity")
    write_python_model(tmp_path / "models", "broken", code=NO_PACKAGE)

    message = refused(tmp_path / "models", *IN_DOCKER, *detach, code=5)

    assert "model 'broken' did not load: " in message
    assert "No module named 'a_package_that_is_nowhere'" in message
    assert "identity" not in message.split("Error: ")[1]
    assert "hint: Python models run in the image" in message


def test_a_repository_that_the_check_rejects_starts_nothing(engine, tmp_path):
    write_python_model(tmp_path / "models", "broken")
    config = tmp_path / "models" / "broken" / "config.pbtxt"
    config.write_text(config.read_text().replace("TYPE_FP32", "TYPE_INVALID"))

    message = refused(tmp_path / "models", *IN_DOCKER, code=7)

    assert "Triton 24.10 would not load 1 of 1 models" in message
    assert "model 'broken'" in message
    assert f"hint: triton-kit validate {tmp_path}/models --release 24.10" in message


def test_a_port_in_use_is_named(engine, identity):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(identity, *IN_DOCKER, "--http-port", port, code=5)

    assert f"--http-port {port}: the port is in use by" in message


def test_a_port_that_is_taken_meanwhile_is_named(engine, identity, tmp_path):
    """Between the look at the port and the engine's own bind: another address."""
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        words = [*IN_DOCKER, "--http-port", port, "--address", "127.0.0.2"]
        message = refused(identity, *words, code=5)

    assert f"--http-port {port}: the port is in use" in message


def test_an_image_that_cannot_be_pulled_is_named(engine, identity):
    image = "registry.invalid/tritonserver:24.10-py3"

    message = refused(identity, *IN_DOCKER, "--image", image, code=5)

    assert f"image {image} is not on this machine, and cannot be pulled" in message
    assert "--image" in message


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--image", "tritonserver:latest"], "no fixed tag"),
        (["--image", "tritonserver"], "no fixed tag"),
        (["--release", "24.13"], "unknown Triton release"),
        (["--gpus", "first"], "'first' is no GPU"),
        (["--flag=--no-such-flag=1"], "no release of tritonserver has this flag"),
        (["--release", "24.10", "--http-max-input-size", "9"], "it came in 25.06"),
        (["--allocator", "tcmalloc"], "is not for --launcher docker"),
    ],
)
def test_what_cannot_be_is_refused_before_the_engine(engine, identity, words, reason):
    message = refused(identity, "--launcher", "docker", *words, code=2)

    assert reason in message


def test_a_release_that_the_image_is_not_is_refused(engine, identity):
    image = "nvcr.io/nvidia/tritonserver:24.10-py3"
    words = ["--launcher", "docker", "--release", "26.07", "--image", image]

    message = refused(identity, *words, code=2)

    assert "is Triton 24.10, and release 26.07 was given" in message


def test_a_gpu_that_the_engine_cannot_give_is_named(engine, identity):
    message = refused(identity, *IN_DOCKER, "--gpus", "0", code=5)

    assert "GPU 0" in message
    assert "nvidia-container-toolkit" in message


def test_an_image_without_a_server_is_reported(engine, identity):
    message = refused(identity, *IN_DOCKER, "--image", "debian-local:12", code=5)

    assert "tritonserver" in message
    assert "not found" in message


def test_too_little_shared_memory_is_explained(engine, identity):
    message = refused(identity, *IN_DOCKER, "--shm-size", "512k", code=5)

    assert "model 'identity' did not load: " in message
    assert "/dev/shm of the container has" in message
    assert "--shm-size" in message


def test_a_container_that_dies_while_it_starts_is_shown_with_its_log(engine, tmp_path):
    write_python_model(tmp_path / "models", "slow", code=SLOW)
    argv = [*KIT, "serve", str(tmp_path / "models"), *IN_DOCKER, "--name", NAME]

    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        deadline_s = time.monotonic() + 30
        while "loading: slow" not in logs_of(NAME):
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        docker("kill", NAME)
        message = process.communicate(timeout=60)[1]

    assert process.returncode == 5
    assert "tritonserver ended before it was ready: exit code 137" in message
    assert "loading: slow" in message
    assert not is_there(NAME)


def logs_of(name):
    done = subprocess.run(
        ["docker", "logs", name], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_files_that_the_containers_user_cannot_read_are_named(engine, identity):
    model = identity / "identity" / "1" / "model.py"
    model.chmod(0o600)

    message = refused(identity, *IN_DOCKER, code=2)

    assert f"{model}: user 1000 of the container cannot read it" in message
    assert f"hint: chmod -R a+rX {identity}" in message


def test_without_an_engine_that_is_said(identity, tmp_path):
    no_program = run_kit("serve", identity, *IN_DOCKER, env={"PATH": str(tmp_path)})
    no_engine = run_kit(
        *("serve", identity, *IN_DOCKER),
        env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
    )

    assert (no_program.returncode, no_engine.returncode) == (5, 5)
    assert "docker is not installed" in no_program.stderr
    assert "the docker engine does not respond" in no_engine.stderr
    assert "DOCKER_HOST" in no_engine.stderr


def test_a_socket_of_another_user_is_explained(engine, identity, tmp_path):
    """As the engine's own program says it to a user who is not in its group."""
    host = os.environ["DOCKER_HOST"].removeprefix("unix://")
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(
        "#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups "
        f'{docker_program()} -H unix://{host} "$@"\n'
    )
    program.chmod(0o755)

    message = run_kit(
        *("serve", identity, *IN_DOCKER),
        env={"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(tmp_path)},
    ).stderr

    assert "docker refuses this user" in message
    assert "join the group docker" in message


def docker_program():
    return next(
        path
        for name in os.environ["PATH"].split(":")
        if (path := Path(name) / "docker").is_file()
    )


def test_print_needs_no_engine_and_starts_nothing(identity, tmp_path):
    done = run_kit(
        *("serve", identity, *IN_DOCKER, "--print", "--gpus", "0,1"),
        env={"PATH": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("docker run \\\n  --rm")
    assert "--gpus '\"device=0,1\"'" in done.stdout
    assert "TRITON_KIT_KEY" in done.stderr


def test_the_options_of_a_container_are_refused_for_the_embedded_server(identity):
    done = run_kit("serve", identity, "--gpus", "all")

    assert done.returncode == 2
    assert "--gpus is not for --launcher embedded" in done.stderr


def test_the_engine_has_the_images_of_the_tests(engine):
    assert "nvcr.io/nvidia/tritonserver:24.10-py3" in docker(
        "images", "--format", "{{.Repository}}:{{.Tag}}"
    )
