"""A Ray cluster of two nodes on this machine, and a server to put load on."""

import subprocess
import sys
from pathlib import Path

import pytest
from clusters import (
    SECONDS_AHEAD,
    STORE_BYTES,
    end_all,
    eventually,
    processes_with,
)

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
