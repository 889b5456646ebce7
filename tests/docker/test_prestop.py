"""The generated preStop under load: which requests a stopping server loses, and whose.

Containers are started and stopped as kubelet does it with the generated manifest. The
clients reach them as through a Service, which learns late that one of them stops.
"""

import http.client
import json
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import yaml
from docker_commands import docker, run_kit, write_python_model

BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
)
PODS = ("kit-pod-0", "kit-pod-1", "kit-pod-2")
DRAIN_S, STOP_TIMEOUT_S = 3, 2
# Until the Service sends no more new connections to a pod that stops.
PROPAGATION_S = 1.0
CLIENTS = 3
KEY = "k" * 32
KILLED = 137


class Service:
    """Which pods get new connections."""

    def __init__(self, addresses):
        self.addresses = list(addresses)
        self._turn = 0

    def next_address(self):
        self._turn += 1
        return self.addresses[self._turn % len(self.addresses)]


class Client(threading.Thread):
    """Sends one request after another.

    once: a connection for each request.
    balanced: keeps its connection for as long as the Service has that pod, as an
        ingress, a mesh or a client of the headless Service does.
    pinned: keeps it for ever: the Service itself moves no connection.
    """

    def __init__(self, service, kind):
        super().__init__(daemon=True)
        self.service, self.kind = service, kind
        self.address = self.connection = None
        self.outcomes = Counter()
        self.leaves = threading.Event()

    def run(self):
        while not self.leaves.is_set():
            self._choose()
            try:
                self.connection.request("POST", "/v2/models/slow/infer", BODY)
                response = self.connection.getresponse()
                response.read()
                self.outcomes[response.status] += 1
            except (OSError, http.client.HTTPException) as error:
                self.outcomes["lost"] += 1
                self.outcomes[f"lost: {type(error).__name__}"] += 1
                self._close()
        self._close()

    def _choose(self):
        is_gone = self.address not in self.service.addresses
        if self.kind == "once" or (self.kind == "balanced" and is_gone):
            self._close()
        if self.connection is None:
            self.address = self.service.next_address()
            self.connection = http.client.HTTPConnection(self.address, 8000, timeout=60)

    def _close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


@pytest.fixture(scope="module")
def manifest(engine, tmp_path_factory):
    """The pod of the generated Deployment, and the repository of its models."""
    folder = tmp_path_factory.mktemp("prestop")
    repository = write_python_model(folder / "models", "slow", delay_s=0.02)
    done = run_kit(
        *("deploy", repository, "--to", "kubernetes", "-o", folder / "out"),
        *("--release", "24.10", "--drain", DRAIN_S, "--stop-timeout", STOP_TIMEOUT_S),
    )
    assert done.returncode == 0, done.stderr
    text = (folder / "out" / "base" / "deployment.yaml").read_text()
    folder.chmod(0o755)
    return yaml.safe_load(text)["spec"]["template"]["spec"], repository


def start_pod(name, pod, repository):
    """Start the container of a pod, as its manifest has it; return its address."""
    [server] = pod["containers"]
    rights = server["securityContext"]
    assert rights["readOnlyRootFilesystem"]
    words = ["--detach", "--name", name, "--read-only", "--tmpfs", "/tmp:mode=1777"]
    words += ["--user", str(pod["securityContext"]["runAsUser"])]
    words += [w for c in rights["capabilities"]["drop"] for w in ("--cap-drop", c)]
    words += ["--volume", f"{repository}:/models:ro"]
    args = [
        word.replace("$(TRITON_KIT_KEY)", KEY).replace("$$", "$")
        for word in server["args"]
    ]
    docker("run", *words, server["image"], *args)
    return json.loads(docker("inspect", name))[0]["NetworkSettings"]["IPAddress"]


def await_ready(address, pod):
    path = pod["containers"][0]["readinessProbe"]["httpGet"]["path"]
    deadline_s = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline_s
        connection = http.client.HTTPConnection(address, 8000, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def service(manifest):
    pod, repository = manifest
    subprocess.run(["docker", "rm", "--force", *PODS], capture_output=True, check=False)
    try:
        addresses = [start_pod(name, pod, repository) for name in PODS]
        for address in addresses:
            await_ready(address, pod)
        yield Service(addresses)
    finally:
        docker("rm", "--force", *PODS)


def stop_pod(name, pod, *, has_prestop):
    """Stop a container as kubelet does: preStop, SIGTERM, what is left of the grace."""
    grace_s = pod["terminationGracePeriodSeconds"]
    began_s = time.monotonic()
    if has_prestop:
        docker(
            *("exec", name),
            *pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"],
        )
    left_s = round(grace_s - (time.monotonic() - began_s))
    docker("stop", "--time", str(left_s), name)
    return json.loads(docker("inspect", name))[0]["State"]["ExitCode"]


@contextmanager
def load(service):
    """Send requests from all kinds of clients; yields the clients by their kind."""
    kinds = {
        kind: [Client(service, kind) for _ in range(CLIENTS * len(service.addresses))]
        for kind in ("once", "balanced", "pinned")
    }
    clients = [client for several in kinds.values() for client in several]
    for client in clients:
        client.start()
    try:
        yield kinds
    finally:
        for client in clients:
            client.leaves.set()
        for client in clients:
            client.join()


def stop_under_load(service, number, pod, *, has_prestop):
    """Return the outcomes by kind of client, and how many were pinned to the pod."""
    address = json.loads(docker("inspect", PODS[number]))[0]["NetworkSettings"][
        "IPAddress"
    ]
    with load(service) as kinds, ThreadPoolExecutor() as pool:
        time.sleep(1)
        pinned = sum(client.address == address for client in kinds["pinned"])
        stopped = pool.submit(stop_pod, PODS[number], pod, has_prestop=has_prestop)
        time.sleep(PROPAGATION_S)
        service.addresses.remove(address)
        code = stopped.result(60)
        time.sleep(0.3)
    # The grace period is long enough. Triton itself crashes when its own time is over.
    assert code != KILLED
    outcomes = {k: sum((c.outcomes for c in cs), Counter()) for k, cs in kinds.items()}
    assert all(found[200] > 20 for found in outcomes.values())
    return outcomes, pinned


def test_with_prestop_only_connections_that_never_move_lose_a_request(
    service, manifest
):
    outcomes, pinned = stop_under_load(service, 0, manifest[0], has_prestop=True)

    assert outcomes["once"]["lost"] == 0, outcomes
    assert outcomes["balanced"]["lost"] == 0, outcomes
    # The one in flight when Triton gives up waiting, on each such connection.
    assert 1 <= outcomes["pinned"]["lost"] <= pinned, outcomes


def test_without_prestop_new_connections_are_lost(service, manifest):
    outcomes, _ = stop_under_load(service, 1, manifest[0], has_prestop=False)

    assert outcomes["once"]["lost"] > 0, outcomes
    assert outcomes["balanced"]["lost"] == 0, outcomes
