"""The embedded server serves this user only: sockets, memory, environment."""

import os
import re
import stat
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from triton_kit.errors import SpecError
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.tritonserver import find_tritonserver

pytestmark = pytest.mark.server
LOOPBACK_ONLY = "127.0.0.1 only"


def listening(pid):
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [
        connection.laddr
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def assert_on_loopback(server):
    found = listening(server.pid)
    assert len(found) == 3, found
    # gRPC's socket is of IPv6, with the mapped address.
    assert {a.ip.removeprefix("::ffff:") for a in found} == {"127.0.0.1"}


def known_flags():
    """Return what `tritonserver --help` lists: each flag and the type of its value."""
    server = find_tritonserver()
    said = subprocess.run(
        [server.binary, "--help"],
        env=server.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    flags = dict(
        re.findall(
            r"^  (--[\w-]+)(?: <(.*)>)?$", said.stdout + said.stderr, re.MULTILINE
        )
    )
    assert len(flags) > 80
    return flags


def is_accepted(flag):
    try:
        ServeSpec(repository=Path(), flags=(flag,))
    except SpecError:
        return False
    return True


def test_every_flag_that_could_open_a_socket_is_refused():
    opens = re.compile("address$|port$|port-range|^--allow-|reuse")
    accepted = {f for f in known_flags() if opens.search(f) and is_accepted(f"{f}=1")}

    assert accepted == {"--allow-gpu-metrics", "--allow-cpu-metrics"}


def test_every_switch_that_is_accepted_leaves_it_on_loopback(tmp_path, write_identity):
    write_identity(tmp_path, "identity")
    # Without certificates it does not start; the names of models change.
    not_here = re.compile("ssl|namespacing|strict-model-config")
    switches = [
        f"{flag}=true"
        for flag, value in known_flags().items()
        if value == "boolean" and not not_here.search(flag)
    ]
    accepted = tuple(filter(is_accepted, switches))
    assert len(accepted) >= 6

    with running(ServeSpec(repository=tmp_path, flags=accepted)) as server:
        assert_on_loopback(server)


@pytest.mark.parametrize(
    "flag",
    [
        "--allow-sagemaker=true",
        "--allow-vertex-ai=1",
        "--allow-v=1",
        "--vertex-ai-po=1",
    ],
)
def test_an_endpoint_on_every_address_is_refused(flag):
    with pytest.raises(SpecError, match=LOOPBACK_ONLY):
        ServeSpec(repository=Path(), flags=(flag,))


def test_no_variable_that_the_binary_names_opens_an_endpoint(
    tmp_path, write_identity, monkeypatch
):
    """AIP_MODE opened Vertex AI's endpoint on 0.0.0.0, and closed Triton's own."""
    write_identity(tmp_path, "identity")
    text = find_tritonserver().binary.read_bytes()
    names = {n.decode() for n in re.findall(rb"(?:[A-Z0-9]+_)+[A-Z0-9]+", text)}
    for name in names | {"AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"}:
        if not name.startswith(("LD_", "CUDA", "MALLOC")):
            monkeypatch.setenv(name, "18080" if name.endswith("PORT") else "/x")
    monkeypatch.setenv("AIP_MODE", "PREDICTION")

    with running(ServeSpec(repository=tmp_path)) as server:
        assert_on_loopback(server)


def test_the_server_gets_known_variables_and_those_that_are_named(
    tmp_path, write_identity, monkeypatch
):
    write_identity(tmp_path, "identity")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MODEL_COLOR", "blue")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    spec = ServeSpec(repository=tmp_path, variables=("MODEL_COLOR", "SIZE=a=b", "NONE"))

    with running(spec) as server:
        found = psutil.Process(server.pid).environ()

    assert "AWS_SECRET_ACCESS_KEY" not in found
    assert found["OMP_NUM_THREADS"] == "1"
    assert (found["MODEL_COLOR"], found["SIZE"]) == ("blue", "a=b")
    assert "NONE" not in found


@pytest.mark.parametrize("variable", ["AIP_MODE=PREDICTION", "AIP_MODE"])
def test_variables_that_open_an_endpoint_are_refused(variable):
    with pytest.raises(SpecError, match=LOOPBACK_ONLY):
        ServeSpec(repository=Path(), variables=(variable,))


def regions_of_memory():
    return set(Path("/dev/shm").glob(f"triton-kit-{os.getpid()}-*"))


def modes_of_memory(besides=frozenset()):
    regions = regions_of_memory() - besides
    return [stat.S_IMODE(region.stat().st_mode) for region in regions]


def test_no_other_user_can_read_the_servers_memory(tmp_path, write_identity):
    """Triton makes it readable to all, whatever the umask is."""
    write_identity(tmp_path, "identity")
    others = regions_of_memory()  # of servers that other tests keep up

    with running(ServeSpec(repository=tmp_path)) as server:
        modes, log = modes_of_memory(others), server.log.parent.stat()

    assert modes
    assert set(modes) == {0o600}
    assert stat.S_IMODE(log.st_mode) == 0o700


def test_memory_of_a_model_loaded_later_is_private_too(tmp_path, write_identity):
    write_identity(tmp_path, "identity")
    others = regions_of_memory()

    with running(ServeSpec(repository=tmp_path, model_control="explicit")) as server:
        assert not modes_of_memory(others)
        server.control.load("identity")
        deadline_s = time.monotonic() + 60
        while set(modes := modes_of_memory(others)) != {0o600}:
            assert time.monotonic() < deadline_s, modes
            time.sleep(0.05)


def test_a_path_that_a_shell_would_take_apart_is_served(tmp_path, write_identity, kit):
    """Triton's Python backend alone waits for ever there."""
    touched = tmp_path / "touched"
    repository = tmp_path / f"my models; $(touch {touched.name}) 'x'"
    write_identity(repository, "identity")

    with running(ServeSpec(repository=repository, ready_within_s=30)) as server:
        assert server.control.is_model_ready("identity")
    printed = kit("serve", repository, "--print")

    assert [*tmp_path.iterdir()] == [repository]
    assert printed.exit_code == 2
    assert "does not load Python models from a path with such characters" in (
        printed.stderr
    )
