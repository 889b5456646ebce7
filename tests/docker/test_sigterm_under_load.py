"""SIGTERM while requests come: which of them get no response, and why."""

import http.client
import json
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest
from docker_commands import IN_DOCKER, served, write_python_model

BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
)
STOP_TIMEOUT_S = 2.0
CLIENTS = 4


class Client(threading.Thread):
    """Sends requests one after another until it is told to leave."""

    def __init__(self, url):
        super().__init__()
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port)
        self.outcomes = Counter()
        self.leaves = threading.Event()

    def run(self):
        while not self.leaves.is_set():
            # A new connection is refused, or made by the engine's proxy for a server
            # that has closed: no request of it was accepted.
            is_new = self.connection.sock is None
            try:
                self.connection.request("POST", "/v2/models/slow/infer", BODY)
                response = self.connection.getresponse()
                response.read()
                self.outcomes[response.status] += 1
            except (OSError, http.client.HTTPException):
                self.outcomes["refused" if is_new else "lost"] += 1
                self.connection.close()
                time.sleep(0.05)
        self.connection.close()


@pytest.mark.parametrize("words", [[], IN_DOCKER], ids=["embedded", "docker"])
def test_only_requests_in_flight_at_the_stop_timeout_are_lost(engine, tmp_path, words):
    """Triton goes on with connections that it has, and drops them at the timeout.

    So clients that stop sending before it lose nothing: behind a balancer that takes
    the server out first, all of them do.
    """
    repository = write_python_model(tmp_path / "models", "slow", delay_s=0.05)

    stop = ("--stop-timeout", str(STOP_TIMEOUT_S))
    with served(repository, *words, *stop) as (process, facts):
        clients = [Client(facts["http_url"]) for _ in range(2 * CLIENTS)]
        leaving, staying = clients[:CLIENTS], clients[CLIENTS:]
        for client in clients:
            client.start()
        time.sleep(1)
        began_s = time.monotonic()
        process.terminate()
        for client in leaving:
            client.leaves.set()
        code = process.wait(60)
        took_s = time.monotonic() - began_s
        for client in staying:
            client.leaves.set()
        for client in clients:
            client.join()

    assert code == 0
    assert STOP_TIMEOUT_S <= took_s < STOP_TIMEOUT_S + 15
    of_leaving = sum((client.outcomes for client in leaving), Counter())
    of_staying = sum((client.outcomes for client in staying), Counter())
    assert set(of_leaving) == {200}
    assert set(of_staying) <= {200, "lost", "refused"}
    assert of_staying["lost"] == CLIENTS
