"""A pushed repository is served: by the kit, and by Triton itself from `s3://`."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from proxies import free_port

from stores import KEYS, s3_client, s3_server
from triton_kit.errors import TransportError
from triton_kit.transfer.minisign import new_key
from triton_kit.transfer.push import push
from triton_kit.transfer.signature import sign_repository
from triton_kit.transfer.stores import open_store, read_address
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server

COMMAND = [sys.executable, "-m", "triton_kit", "serve"]
WITHIN_S = 120


@pytest.fixture(scope="module")
def pushed(tmp_path_factory, write_identity):
    """A signed repository, its public key, where it was pushed, and the S3 server."""
    folder = tmp_path_factory.mktemp("pushed")
    repository = write_identity(folder / "models", "identity")
    new_key(folder / "release.key")
    sign_repository(repository, folder / "release.key")
    with s3_server() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": url}).items():
            patch.setenv(name, value)
        s3_client(url).create_bucket(Bucket="models")
        result = push(repository, open_store(read_address("s3://models/shop")))
        yield folder, url, result.digest


@contextmanager
def ready(argv, folder, port, **environment):
    """Run a program until its server has a model; end its whole session."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=os.environ | environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    control = HttpControl(f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + WITHIN_S
    try:
        while not is_ready(control):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield log
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(WITHIN_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def is_ready(control):
    try:
        return control.is_model_ready("identity")
    except TransportError:
        return False


def test_serve_takes_an_address_and_verifies_its_signature(pushed):
    folder, *_ = pushed
    port = free_port()
    words = ["s3://models/shop", "--http-port", str(port)]
    words += ["--verify-key", str(folder / "release.pub")]

    with ready([*COMMAND, *words], folder, port) as log:
        deadline = time.monotonic() + WITHIN_S
        while "identity" not in log.read_text():  # it polls the server, as this does
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in log.read_text()


def test_triton_itself_loads_what_was_pushed(pushed):
    folder, url, digest = pushed
    port = free_port()
    words = [*COMMAND, str(folder / "models"), "--print"]
    words += ["--http-port", str(port)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    # Triton reads an endpoint from the address alone.
    address = f"s3://{url}/models/shop/{digest}"
    own = re.sub(r"--model-repository=\S+", f"--model-repository={address}", printed)

    with ready(
        ["sh", "-c", f"exec env {own}"], folder, port, TRITON_KIT_KEY="k"
    ) as log:
        deadline = time.monotonic() + WITHIN_S
        while address not in log.read_text():  # Triton's list of its options
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
