"""Starting, watching and stopping the real server."""

import os
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.http
from onnx_models import affine

from triton_kit.errors import RepositoryError, ServerError, TransportError
from triton_kit.serving.allocator import preload
from triton_kit.serving.embedded import running
from triton_kit.serving.ports import choose_ports
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server


def ask(url, model, x):
    """Send float32 x, shape (batch, n), and return y."""
    with tritonclient.http.InferenceServerClient(url.removeprefix("http://")) as client:
        tensor = tritonclient.http.InferInput("x", list(x.shape), "FP32")
        tensor.set_data_from_numpy(x)
        return client.infer(model, [tensor]).as_numpy("y")


def shared_memory_of(pid):
    """Regions that the launch of the process `pid` (the launcher, not Triton) left."""
    return sorted(Path("/dev/shm").glob(f"triton-kit-{pid}-*"))


@pytest.fixture
def identity_repository(tmp_path, write_identity):
    return write_identity(tmp_path / "repository", "identity")


def test_a_running_server_responds_with_its_version(server):
    x = np.arange(8, dtype=np.float32).reshape(2, 4)

    assert server.version == "2.51.0"
    assert server.models == ("affine", "identity")
    assert (ask(server.http_url, "affine", x) == 2 * x + 1).all()
    assert (ask(server.http_url, "identity", x) == x).all()


def test_it_listens_on_loopback_only(server):
    listeners = [
        connection.laddr
        for connection in psutil.Process(server.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listeners) == 3
    # gRPC writes IPv4 addresses in IPv6 form.
    assert {address.ip.removeprefix("::ffff:") for address in listeners} == {
        "127.0.0.1"
    }


@pytest.mark.parametrize("allocator", ["tcmalloc", "jemalloc"])
def test_the_server_and_its_python_models_use_the_wanted_allocator(
    identity_repository, allocator
):
    try:
        preload(allocator)
    except ServerError as error:
        pytest.skip(error.message)

    with running(ServeSpec(repository=identity_repository, allocator=allocator)) as it:
        server = psutil.Process(it.pid)
        for process in [server, *server.children(recursive=True)]:
            assert any(allocator in part.path for part in process.memory_maps())


def test_nothing_is_left_after_the_stop(identity_repository):
    before = shared_memory_of(os.getpid())
    with running(ServeSpec(repository=identity_repository)) as server:
        family = [psutil.Process(server.pid)]
        family += family[0].children(recursive=True)
        regions = set(shared_memory_of(os.getpid())) - set(before)
        log = server.log
    _, alive = psutil.wait_procs(family, timeout=10)

    assert len(family) >= 2  # the server and the Python model's process
    assert regions
    assert not any(region.exists() for region in regions)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert not log.exists()


def test_the_folder_it_is_started_from_does_not_matter(
    identity_repository, tmp_path, monkeypatch, write_onnx
):
    write_onnx(identity_repository, "affine", affine())
    # Triton 24.10 would take these for the model, the backend and NumPy.
    for name in ("1/model.py", "model.py", "numpy.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise ImportError('the wrong file')")
    monkeypatch.chdir(tmp_path)
    x = np.ones((1, 4), np.float32)

    spec = ServeSpec(repository=Path("repository"), log=Path("server.log"))
    with running(spec) as server:
        assert (ask(server.http_url, "identity", x) == x).all()
        assert (ask(server.http_url, "affine", x) == 3).all()

    assert "Started HTTPService" in (tmp_path / "server.log").read_text()


def killed(server):
    server.process.kill()
    server.process.wait()
    return server


def test_shared_memory_of_killed_processes_is_removed(identity_repository):
    before = shared_memory_of(os.getpid())
    regions = set()

    def kill_all_of(server):
        regions.update(set(shared_memory_of(os.getpid())) - set(before))
        children = psutil.Process(server.pid).children(recursive=True)
        for process in (psutil.Process(server.pid), *children):
            process.send_signal(signal.SIGKILL)
        server.wait()

    spec = ServeSpec(repository=identity_repository)
    with pytest.raises(ServerError, match="killed by SIGKILL"), running(spec) as server:
        kill_all_of(server)

    assert regions
    assert not any(region.exists() for region in regions)


def test_a_dead_server_is_named_as_the_reason_of_a_failed_request(identity_repository):
    spec = ServeSpec(repository=identity_repository)
    with (
        pytest.raises(ServerError, match="while it was in use") as caught,
        running(spec) as server,
    ):
        HttpControl(killed(server).http_url).server()

    assert isinstance(caught.value.__cause__, TransportError)
    assert "HTTPService" in str(caught.value)  # the last lines of its log


def test_a_dead_server_is_reported_beside_what_failed_of_it(identity_repository):
    """As an error of another client, whose type its caller may wait for."""

    def fail_without(_):
        raise ConnectionError("refused")

    spec = ServeSpec(repository=identity_repository)
    with (
        pytest.raises(ConnectionError, match="refused") as caught,
        running(spec) as server,
    ):
        fail_without(killed(server))

    [note] = caught.value.__notes__
    assert note.startswith("tritonserver ended while it was in use: killed by SIGKILL")


def test_a_server_that_died_unnoticed_is_an_error_all_the_same(identity_repository):
    spec = ServeSpec(repository=identity_repository)
    with pytest.raises(ServerError, match="killed by SIGKILL"), running(spec) as server:
        killed(server)


def test_a_failure_under_a_server_that_lives_is_left_as_it_is(identity_repository):
    with (
        pytest.raises(ConnectionError) as caught,
        running(ServeSpec(repository=identity_repository)),
    ):
        raise ConnectionError

    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(
    "line",
    [
        "terminate called after throwing 'boost::interprocess::lock_exception'",
        " 2# 0x00007F35F397EE7A in /backends/python/libtriton_python.so",
    ],
)
def test_a_crash_that_is_known_is_explained(identity_repository, line):
    """The lines are what Triton writes where a model's process was paused."""

    def crash(server):
        server.process.send_signal(signal.SIGABRT)
        server.process.wait()
        with server.log.open("a") as log:
            log.write(f"\n{line}\n")
        server.wait()

    spec = ServeSpec(repository=identity_repository)
    with pytest.raises(ServerError, match="SIGABRT") as caught, running(spec) as server:
        crash(server)

    assert "had no CPU for a second" in caught.value.hint


# A method of a model that ends the server as its fault does: {crashes} times.
CRASHING = """
    def initialize(self, args):
        import os, signal
        from pathlib import Path

        starts = Path({starts!r})
        starts.mkdir(exist_ok=True)
        (starts / str(os.getppid())).touch()
        if len(list(starts.iterdir())) <= {crashes}:
            print("what():  boost::interprocess::lock_exception", flush=True)
            os.kill(os.getppid(), signal.SIGABRT)
"""


def crash_at_start(repository, *, times):
    """Make a repository's start crash; return a folder with a file for each start."""
    starts = repository.with_name("starts")
    with (repository / "identity" / "1" / "model.py").open("a") as model:
        model.write(CRASHING.format(starts=str(starts), crashes=times))
    return starts


def test_a_start_that_crashes_once_costs_another(identity_repository):
    starts = crash_at_start(identity_repository, times=1)
    x = np.ones((1, 4), np.float32)

    with running(ServeSpec(repository=identity_repository)) as server:
        assert (ask(server.http_url, "identity", x) == x).all()

    assert len(list(starts.iterdir())) == 2


def test_a_start_that_crashes_again_is_an_error(identity_repository):
    starts = crash_at_start(identity_repository, times=9)
    spec = ServeSpec(repository=identity_repository)

    with (
        pytest.raises(ServerError, match="before it was ready") as caught,
        running(spec),
    ):
        pass

    assert "had no CPU for a second" in caught.value.hint
    assert len(list(starts.iterdir())) == 2


def test_servers_that_start_at_once_do_not_collide(identity_repository):
    servers, failures = [], []

    def launch(stack):
        try:
            servers.append(
                stack.enter_context(running(ServeSpec(repository=identity_repository)))
            )
        except ServerError as error:
            failures.append(error)

    with ExitStack() as one, ExitStack() as two, ExitStack() as three:
        threads = [threading.Thread(target=launch, args=[s]) for s in (one, two, three)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answers = {HttpControl(s.http_url).server().version for s in servers}

    assert failures == []
    assert answers == {"2.51.0"}
    ports = {u for s in servers for u in (s.http_url, s.grpc_url, s.metrics_url)}
    assert len(ports) == 9


@pytest.mark.parametrize("lost", ["http-port", "grpc-port", "metrics-port"])
def test_a_chosen_port_lost_during_the_start_is_replaced(identity_repository, lost):
    offers = []
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()

        def choose(wanted):
            offers.append(choose_ports(wanted))
            if len(offers) == 1:
                offers[0][lost] = thief.getsockname()[1]
            return offers[-1]

        with running(ServeSpec(repository=identity_repository), choose=choose) as s:
            version = HttpControl(s.http_url).server().version

    assert version == "2.51.0"
    assert len(offers) == 2


@pytest.mark.parametrize("name", ["http", "grpc", "metrics"])
def test_a_wanted_port_in_use_is_refused_with_its_holder(
    tmp_path, write_identity, name
):
    write_identity(tmp_path, "identity")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        spec = ServeSpec(repository=tmp_path, **{f"{name}_port": port})

        refused = pytest.raises(ServerError, match=f"--{name}-port {port}.*in use")
        with refused as caught, running(spec):
            pass

    assert f"process {os.getpid()}" in str(caught.value)


def test_wanted_ports_are_used(identity_repository):
    ports = choose_ports({"http-port": None, "grpc-port": None, "metrics-port": None})
    wanted = {name.replace("-", "_"): port for name, port in ports.items()}

    with running(ServeSpec(repository=identity_repository, **wanted)) as server:
        assert server.http_url == f"http://127.0.0.1:{ports['http-port']}"
        assert server.grpc_url == f"127.0.0.1:{ports['grpc-port']}"
        assert f":{ports['metrics-port']}/metrics" in server.metrics_url


def test_explicit_control_loads_what_was_named_and_the_rest_on_demand(
    tmp_path, write_identity
):
    for name in ("one", "two"):
        write_identity(tmp_path, name)
    spec = ServeSpec(repository=tmp_path, model_control="explicit", models=("one",))

    with running(spec) as server:
        control = server.control
        assert control.is_model_ready("one")
        assert not control.is_model_ready("two")

        control.load("two")
        assert control.is_model_ready("two")

        control.unload("one")
        with pytest.raises(ServerError, match="'absent'"):
            control.load("absent")


def test_a_named_model_that_is_absent_is_an_error(tmp_path, write_identity):
    write_identity(tmp_path, "here")
    spec = ServeSpec(repository=tmp_path, model_control="explicit", models=("gone",))

    with pytest.raises(RepositoryError, match="'gone'") as caught, running(spec):
        pass

    assert "here" in str(caught.value)


BROKEN = {
    "text": ({}, 'max_batch_size: "4\n', "1:1[79]: "),
    "field": ({}, "batch_size: 4\n", 'no field named "batch_size"'),
    "version": ({}, 'backend: "python"', "at least one version"),
    "python": (
        {"1/model.py": "raise ValueError('my own words')"},
        'backend: "python"',
        r"my own words \(.*model.py:1\)",
    ),
    "backend": ({"1/model.plan": "x"}, 'backend: "tensorrt"', "tensorrt"),
    "no config": ({"1/data": "x"}, None, "backend"),
}


def test_every_model_that_does_not_load_is_named_with_tritons_reason(
    tmp_path, write_model, write_identity
):
    write_identity(tmp_path, "good")
    for name, (files, config, _) in BROKEN.items():
        (tmp_path / name).mkdir()
        write_model(tmp_path, name, files, config=config)

    refused = pytest.raises(ServerError, match="did not load")
    with refused as caught, running(ServeSpec(repository=tmp_path)):
        pass

    lines = caught.value.message.splitlines()
    assert len(lines) == len(BROKEN)
    for line, (name, (_, _, reason)) in zip(lines, sorted(BROKEN.items()), strict=True):
        assert re.search(f"model '{name}' did not load: .*{reason}", line)


def test_a_start_that_hangs_on_a_missing_model_file_is_given_up_at_once(
    tmp_path, write_model
):
    write_model(tmp_path, "empty", {"1/x": ""}, config='backend: "python"')

    refused = pytest.raises(ServerError, match=r"'empty' did not load.*1/model\.py")
    with refused, running(ServeSpec(repository=tmp_path, stop_within_s=1)):
        pass


ENSEMBLE = """platform: "ensemble"
input { name: "a" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "b" data_type: TYPE_FP32 dims: [ 1 ] }
ensemble_scheduling { step { model_name: "step" model_version: -1
  input_map { key: "x" value: "a" } output_map { key: "y" value: "b" } } }"""


def test_an_ensemble_of_a_model_that_is_not_there_names_it(tmp_path, write_model):
    write_model(tmp_path, "whole", {"1/.keep": ""}, config=ENSEMBLE)

    refused = pytest.raises(ServerError, match=r"'whole' did not load.*: step$")
    with refused, running(ServeSpec(repository=tmp_path)):
        pass


def test_an_ensemble_names_the_step_that_failed(tmp_path, write_model):
    write_model(tmp_path, "whole", {"1/.keep": ""}, config=ENSEMBLE)
    write_model(tmp_path, "step", {"1/model.py": "1 / 0"}, config='backend: "python"')

    refused = pytest.raises(ServerError, match=r"'whole'.*depends on 'step'")
    with refused as caught, running(ServeSpec(repository=tmp_path)):
        pass

    assert "ZeroDivisionError" in str(caught.value)


def test_what_keeps_the_server_from_starting_is_its_reason(identity_repository):
    flags = ("--cache-config=absent,size=1048576",)
    reason = "did not start: .*unable to find 'libtritoncache_absent.so'"

    with (
        pytest.raises(ServerError, match=reason),
        running(ServeSpec(repository=identity_repository, flags=flags)),
    ):
        pass


def cache_counts(url):
    """How often `identity` was answered from the cache, and how often it ran."""
    [stats] = HttpControl(url).statistics("identity")
    return stats["inference_stats"]["cache_hit"]["count"], stats["execution_count"]


def test_responses_come_from_the_cache_where_one_is_asked_for(identity_repository):
    config = identity_repository / "identity" / "config.pbtxt"
    config.write_text(config.read_text() + "response_cache { enable: true }\n")
    flags = ("--cache-config=local,size=1048576",)
    x = np.ones((1, 4), np.float32)

    with running(ServeSpec(repository=identity_repository, flags=flags)) as server:
        answers = [ask(server.http_url, "identity", x) for _ in range(3)]
        # The server counts what it did after the answer has left.
        deadline_s = time.monotonic() + 10
        while (counts := cache_counts(server.http_url)) != (2, 1):
            assert time.monotonic() < deadline_s, counts
            time.sleep(0.01)

    assert all((answer == x).all() for answer in answers)


def test_a_start_that_takes_too_long_says_what_it_waits_for(tmp_path, write_model):
    slow = "import time\ntime.sleep(60)\n"
    config = 'backend: "python"'
    write_model(tmp_path, "slow", {"1/model.py": slow}, config=config)

    spec = ServeSpec(repository=tmp_path, ready_within_s=3, stop_within_s=1)

    late = pytest.raises(ServerError, match=r"not ready after 3 s.*loading slow")
    with late, running(spec):
        pass


def test_strict_config_fills_nothing_in(tmp_path, write_model):
    write_model(tmp_path, "bare", {"1/model.onnx": affine()})
    spec = ServeSpec(repository=tmp_path, strict_model_config=True)

    with pytest.raises(ServerError, match=r"config\.pbtxt"), running(spec):
        pass


def test_the_log_stays_where_it_was_asked_for(identity_repository, tmp_path):
    log = tmp_path / "server.log"

    with running(ServeSpec(repository=identity_repository, log=log)) as server:
        assert server.log == log

    assert "Started HTTPService" in log.read_text()


def test_a_missing_repository_is_named_before_the_start(tmp_path):
    refused = pytest.raises(RepositoryError, match="gone: it does not exist")
    with refused, running(ServeSpec(repository=tmp_path / "gone")):
        pass
