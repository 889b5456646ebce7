"""The server or a model's process is killed, and what a load shows of it."""

import json
import os
import signal
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from triton_kit.errors import ServerError
from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

MODELS = Path(__file__).parent / "perf_models"
ENOUGH = 200
WITHIN_S = 120.0
# What a client sees of a server that is killed and away for a while.
LOSSES = {
    "connection refused",
    "connection closed",
    "connection reset",
}


def served(server):
    """Requests that this server has answered well, and the others."""
    url = f"{server.http_url}/v2/models/mlp/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        stats = json.load(answer)["model_stats"][0]["inference_stats"]
    return stats["success"]["count"], stats["fail"]["count"]


def wait_until_served(server, count):
    deadline = time.monotonic() + WITHIN_S
    while served(server)[0] < count:
        assert time.monotonic() < deadline, "no load came"
        time.sleep(0.02)


class Outage:
    """Serves, is killed once it has answered enough, and serves again."""

    def __init__(self):
        self.is_ready = threading.Event()
        self.has_answered_again = threading.Event()
        self.is_measured = threading.Event()
        self.ports = {}
        self.after = None
        self.killed_ns = 0
        self.error = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self.is_ready.wait(WITHIN_S)
        self._raise_its_error()
        return self

    def __exit__(self, *_):
        self.is_measured.set()
        self._thread.join(WITHIN_S)
        self._raise_its_error()

    def _raise_its_error(self):
        if self.error is not None:
            raise self.error

    def url(self, protocol):
        return f"127.0.0.1:{self.ports[f'{protocol}_port']}"

    def on_progress(self, _progress):
        """Ends the measurement as Ctrl-C does, once there is enough to look at."""
        if self.has_answered_again.is_set() or self.error is not None:
            raise KeyboardInterrupt

    def _run(self):
        try:
            self._serve_until_killed()
            self._serve_again()
        except BaseException as error:
            self.error = error
            self.is_ready.set()

    def _spec(self):
        return ServeSpec(
            repository=MODELS, model_control="explicit", models=("mlp",), **self.ports
        )

    def _serve_until_killed(self):
        with suppress(ServerError), running(self._spec()) as server:
            self.ports = {
                "http_port": int(server.http_url.rpartition(":")[2]),
                "grpc_port": int(server.grpc_url.rpartition(":")[2]),
            }
            self.is_ready.set()
            wait_until_served(server, ENOUGH)
            self.killed_ns = time.monotonic_ns()
            os.kill(server.pid, signal.SIGKILL)
            server.process.wait()

    def _serve_again(self):
        with running(self._spec()) as server:
            wait_until_served(server, ENOUGH)
            self.has_answered_again.set()
            self.is_measured.wait(WITHIN_S)
            self.after = served(server)


@pytest.mark.parametrize(
    ("protocol", "load"),
    [
        ("http", ClosedLoad(4)),
        ("grpc", RateLoad(rate_hz=300)),
        pytest.param("http", RateLoad(rate_hz=300), marks=pytest.mark.long),
        pytest.param("grpc", ClosedLoad(4), marks=pytest.mark.long),
    ],
)
def test_a_restart_is_counted_and_the_load_goes_on(protocol, load):
    with Outage() as outage:
        result = measure(
            PerfSpec(
                url=outage.url(protocol),
                protocol=protocol,
                model="mlp",
                loads=(load,),
                warm_up_s=0,
                measurement_interval_s=WITHIN_S,
                drain_within_s=5,
                keep_times=True,
            ),
            outage.on_progress,
        )
    [run] = result.runs
    errors = {kind: tally.count for kind, tally in run.recording.errors.items()}
    sent_ns = np.concatenate(run.recording.times)[:, 1]
    again = int((sent_ns > outage.killed_ns).sum())

    # Every request ended in one way, and the errors have names.
    cancelled = run.recording.cancelled  # those in flight when it was interrupted
    assert run.total == run.recording.succeeded + run.errors + cancelled
    assert len(sent_ns) == run.recording.succeeded
    assert set(errors) <= LOSSES, errors
    assert errors["connection refused"] > 0
    assert str(run.verdict) == "failing: the server's process ended"
    assert run.as_json()["foreign_cores"] is None
    # Good answers came from both servers, and the second one counted the same.
    assert len(sent_ns) > again
    good, _ = outage.after
    assert good >= ENOUGH
    assert again <= good <= again + cancelled
    # Nothing of the old server's figures is held against those of the new one.
    assert all(stats.requests >= 0 for stats in run.server)


# Triton takes half a minute to unload it.
@pytest.mark.parametrize(
    "protocol", ["http", pytest.param("grpc", marks=pytest.mark.long)]
)
def test_a_model_whose_process_is_gone_is_reported_with_what_to_do(protocol):
    """Triton calls it ready all the same."""
    spec = ServeSpec(repository=MODELS, model_control="explicit", models=("mlp",))
    with running(spec) as server:
        load = PerfSpec(
            url=server.http_url if protocol == "http" else server.grpc_url,
            protocol=protocol,
            model="mlp",
            loads=(ClosedLoad(1),),
            warm_up_s=0,
            request_count=2,
        )
        for process in psutil.Process(server.pid).children():
            process.kill()
        [dead] = measure(load).runs
        server.control.unload("mlp")
        server.control.load("mlp")
        [alive] = measure(load).runs

    assert dead.errors == 2
    assert str(dead.verdict) == (
        "failing: the process of a Python model ended or had no CPU for a second; it "
        "responds with errors until it is unloaded and loaded"
    )
    assert alive.errors == 0
