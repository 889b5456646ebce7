"""A Ray cluster of two nodes on this machine, and a server to put load on."""

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import onnx
import pytest
from clusters import (
    NETS,
    SECONDS_AHEAD,
    STORE_BYTES,
    end_all,
    eventually,
    processes_with,
)
from onnx import helper

from triton_kit.execute.cluster import ExecutorChoice, connected
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec


def start_cluster(*, tries=3):
    """Start the nodes; on a machine that is too busy, Ray may give up, so try again."""
    from ray.cluster_utils import Cluster

    started = Cluster()
    try:
        started.add_node(
            num_cpus=1,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            _system_config={"health_check_period_ms": 1_000},
        )
        started.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    except Exception:
        started.shutdown()
        if tries == 1:
            raise
        return start_cluster(tries=tries - 1)
    return started


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A head and one more node, each with one CPU; no dashboard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        functions = Path(__file__).parent.parent / "unit" / "execute"
        patch.setenv("PYTHONPATH", str(functions))
        patch.setenv("RAY_TMPDIR", tempfile.gettempdir())  # paths of sockets are short
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("node-tmp")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("node-cache")))
        started = start_cluster()
        patch.setenv("RAY_ADDRESS", started.address)
        yield started
        session = Path(started.head_node.get_session_dir_path()).name
        started.shutdown()
    eventually(lambda: not processes_with(session))


@pytest.fixture
def driver(cluster):
    """This process, connected to the cluster; yields the module `ray`."""
    with connected(ExecutorChoice("ray")) as ray:
        yield ray


@pytest.fixture
def add_node(cluster):
    """Add a node with one CPU to the cluster: `add_node(NAME=1)`, with resources."""
    added = []

    def add(**resources):
        added.append(
            cluster.add_node(
                num_cpus=1, object_store_memory=STORE_BYTES, resources=resources
            )
        )
        return added[-1]

    yield add
    for node in added:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


@pytest.fixture
def occupy(driver):
    """Occupy the CPU of each of some nodes; returns what frees them."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    occupants = []

    class Occupant:
        def is_here(self):
            return True

    def free():
        while occupants:
            driver.kill(occupants.pop())

    def occupied(*nodes):
        for node in nodes:
            strategy = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
            options = {"num_cpus": 1, "scheduling_strategy": strategy}
            occupants.append(driver.remote(Occupant).options(**options).remote())
            assert driver.get(occupants[-1].is_here.remote())
        return free

    yield occupied
    free()


@pytest.fixture(scope="session")
def head(cluster, tmp_path_factory):
    """The address of the cluster for Ray clients: `ray://127.0.0.1:PORT`."""
    with ExitStack() as stack:
        for number in range(3):  # another process may take the free port first
            log = tmp_path_factory.mktemp("head") / f"{number}.log"
            process, port = start_client_server(cluster, log)
            stack.callback(end_all, process)
            eventually(lambda p=process, n=port: p.poll() is not None or listens(n))
            if process.poll() is None:
                break
        assert process.poll() is None, log.read_text()
        yield f"ray://127.0.0.1:{port}"


def start_client_server(cluster, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "ray.util.client.server", "--host=127.0.0.1", f"--port={port}"]
    words += [f"--address={cluster.address}", "--mode=proxy"]
    words += [f"--node-id={cluster.head_node.node_id}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            # With some versions of gRPC, a fork ends the process of a client.
            env=os.environ | {"GRPC_ENABLE_FORK_SUPPORT": "0"},
            stdout=output,
            stderr=output,
        )
    return process, port


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def server():
    """The real server with one small model."""
    models = Path(__file__).parent.parent / "server" / "perf_models"
    spec = ServeSpec(repository=models, model_control="explicit", models=("mlp",))
    with running(spec) as started:
        yield started


@pytest.fixture
def node_ahead(cluster, tmp_path):
    """A third node, whose clock is ahead where the system grants a time namespace."""
    program = [str(Path(sys.executable).with_name("ray")), "start", "--block"]
    program += [f"--address={cluster.address}", "--num-cpus=1"]
    program += [f"--object-store-memory={STORE_BYTES}", '--resources={"ahead": 1}']
    unshare = ["unshare", "--time", f"--monotonic={SECONDS_AHEAD}"]
    unshare += [f"--boottime={SECONDS_AHEAD}", "--fork", "--kill-child"]
    may = subprocess.run([*unshare, "true"], capture_output=True, check=False)
    with (tmp_path / "node.log").open("wb") as log:
        process = subprocess.Popen(
            [*(unshare if may.returncode == 0 else []), *program],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield process, may.returncode == 0
    end_all(process)


@pytest.fixture
def nets(tmp_path):
    """A project of two small networks."""
    folder = tmp_path / "nets"
    folder.mkdir()
    weights = helper.make_tensor("w", 1, [4, 4], [0.25 * n for n in range(16)])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "net",
        [helper.make_tensor_value_info("x", 1, ["n", 4])],
        [helper.make_tensor_value_info("y", 1, ["n", 4])],
        [weights],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(
        helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "net.onnx"
    )
    (folder / "triton-kit.yaml").write_text(NETS)
    return folder
