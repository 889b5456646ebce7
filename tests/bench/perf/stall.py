"""The stall test: the server stands still for half a second; who says so?"""

import json
import os
import select
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

import clients
import numpy as np
import openloop
from watch import NoLoadError, tail, wait_until_calm

RATE = 1000
SECONDS = 4
STALL_S = 0.5
_STALL_AFTER_S = 1.5
_PROBES = 50


def measure(server, counter, folder, rounds, seconds, say):
    """Yield all rows so far after each round: the p99 reported, and the true one."""
    rows = []
    for number in range(min(rounds, 3)):
        for name, make in _contenders().items():
            row = {"client": name, "round": number}
            try:
                row |= _one(make(server, folder), server, counter, folder)
            except (NoLoadError, OSError, KeyError, ValueError) as error:
                row["error"] = f"{type(error).__name__}: {error}"
            rows.append(row)
            say(str(row))
        yield rows


def _contenders():
    makes = {}
    for protocol in ("http", "grpc"):
        for distribution in ("constant", "poisson"):
            makes[f"triton-kit {protocol} {distribution}"] = (
                lambda server, folder, p=protocol, d=distribution: _ours(
                    server, folder, p, d
                )
            )
        for is_async in (False, True):
            mode = "async" if is_async else "sync"
            makes[f"perf_analyzer {protocol} {mode}"] = (
                lambda server, folder, p=protocol, a=is_async: _theirs(
                    server, folder, p, a
                )
            )
    return makes


def _ours(server, folder, protocol, distribution):
    job = openloop.ours(
        server,
        folder,
        RATE,
        SECONDS,
        distribution=distribution,
        protocol=protocol,
    )
    export = folder / "export.json"
    export.unlink(missing_ok=True)

    def read(stall):
        _, p99_us, _ = clients.json_latencies(folder / "open.json")
        true_us = float(np.quantile(stall.waits_s(_due_s(export)), 0.99)) * 1e6
        return {"reported_p99_us": p99_us, "true_p99_us": true_us}

    argv = [*job.argv, "--profile-export-file", str(export)]
    return clients.Job(argv, job.env, read)


def _due_s(export):
    """Return when our requests were due, in seconds since the epoch."""
    requests = json.loads(export.read_text())["experiments"][0]["requests"]
    return np.array([request["due"] for request in requests]) / 1e9


def _theirs(server, folder, protocol, is_async):
    job = openloop.perf_analyzer(
        server, folder, RATE, SECONDS, is_async=is_async, protocol=protocol
    )

    def read(_stall):
        sent_ns, done_ns = openloop.exported(folder / "export.json")
        due_ns = np.arange(len(sent_ns)) * 1e9 / RATE
        due_ns += (sent_ns - due_ns).min()
        _, p99_us, _ = clients.csv_latencies(folder / "out.csv")
        true_us = float(np.quantile(done_ns - due_ns, 0.99)) / 1e3
        return {"reported_p99_us": p99_us, "true_p99_us": true_us}

    return clients.Job(job.argv, job.env, read)


def _one(job, server, counter, folder):
    log = folder / "client.log"
    wait_until_calm()
    probes = Probes(server)
    before = counter.read()
    with log.open("wb") as output:
        process = subprocess.Popen(
            job.argv, stdout=output, stderr=subprocess.STDOUT, env=job.env, cwd=folder
        )
        try:
            deadline_s = time.monotonic() + 30
            while counter.read() < before + 20 and time.monotonic() < deadline_s:
                time.sleep(0.02)
            time.sleep(_STALL_AFTER_S)
            stall = probes.stall(server.pid)
            if process.poll() is not None:
                raise NoLoadError(f"it ended before the stall: {tail(log)}")
            process.wait(60)
        finally:
            probes.close()
            if process.poll() is None:
                process.kill()
            process.wait()
    figures = job.latencies(stall)
    ratio = figures["reported_p99_us"] / figures["true_p99_us"]
    return figures | {"stalled_s": stall.length_s, "reported_to_true": ratio}


@dataclass(frozen=True)
class Stall:
    """When the server stood still, since the epoch, and what probes sent then waited.

    `sent_s` is ascending.
    """

    began_s: float
    length_s: float
    sent_s: list[float]
    waited_s: list[float]

    def waits_s(self, due_s):
        """Return what requests that were due at these times waited for the stall."""
        is_meanwhile = (due_s >= self.began_s) & (due_s < self.began_s + self.length_s)
        waits = np.interp(due_s, self.sent_s, self.waited_s)
        return np.where(is_meanwhile, waits, 0.0)


class Probes:
    """A second, independent client: single requests at known times of the stall.

    What they wait is what any request due at that time waits, and between two of them
    something between; they are too few to disturb.
    """

    def __init__(self, server):
        host, _, port = clients.url(server, "http").rpartition(":")
        self._payload = clients.request(server)
        self._sockets = [
            socket.create_connection((host, int(port))) for _ in range(_PROBES)
        ]

    def stall(self, pid):
        """Stop the server for a while; return what that was like from outside."""
        sent_s = {}
        os.kill(pid, signal.SIGSTOP)
        try:
            began_s = time.time()
            for index, probe in enumerate(self._sockets):
                time.sleep(max(0.0, began_s + index * STALL_S / _PROBES - time.time()))
                sent_s[probe] = time.time()
                probe.sendall(self._payload)
            time.sleep(max(0.0, began_s + STALL_S - time.time()))
        finally:
            os.kill(pid, signal.SIGCONT)
        length_s = time.time() - began_s
        came_s = {}
        while waiting := sent_s.keys() - came_s.keys():
            ready, _, _ = select.select(list(waiting), [], [], 10)
            if not ready:
                raise NoLoadError("a probe got no answer")
            came_s |= dict.fromkeys(ready, time.time())
        waited_s = [came_s[probe] - sent_s[probe] for probe in self._sockets]
        return Stall(began_s, length_s, list(sent_s.values()), waited_s)

    def close(self):
        for probe in self._sockets:
            probe.close()
