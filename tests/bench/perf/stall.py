"""The stall test: the server stands still for half a second; who says so?"""

import os
import select
import signal
import socket
import subprocess
import time

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
        is_precise=False,
        protocol=protocol,
    )

    def read(stalled_s, waited_s):
        _, p99_us, _ = clients.json_latencies(folder / "open.json")
        # The slowest hundredth of all requests, among those that were due meanwhile.
        share = 1 - 0.01 * SECONDS / stalled_s
        true_us = 1e6 * float(np.quantile(waited_s, share))
        return {"reported_p99_us": p99_us, "true_p99_us": true_us}

    return clients.Job(job.argv, job.env, read)


def _theirs(server, folder, protocol, is_async):
    job = openloop.perf_analyzer(
        server, folder, RATE, SECONDS, is_async=is_async, protocol=protocol
    )

    def read(_stalled_s, _waited_s):
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
            stalled_s, waited_s = probes.stall(server.pid)
            if process.poll() is not None:
                raise NoLoadError(f"it ended before the stall: {tail(log)}")
            process.wait(60)
        finally:
            probes.close()
            if process.poll() is None:
                process.kill()
            process.wait()
    figures = job.latencies(stalled_s, waited_s)
    ratio = figures["reported_p99_us"] / figures["true_p99_us"]
    return figures | {"stalled_s": stalled_s, "reported_to_true": ratio}


class Probes:
    """A second, independent client: single requests at known times of the stall.

    What they wait is what any request due at that time waits; they are too few to
    disturb.
    """

    def __init__(self, server):
        host, _, port = clients.url(server, "http").rpartition(":")
        self._payload = clients.request(server)
        self._sockets = [
            socket.create_connection((host, int(port))) for _ in range(_PROBES)
        ]

    def stall(self, pid):
        """Stop the server for a while; return for how long, and what probes waited."""
        waiting = {}
        os.kill(pid, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            for index, probe in enumerate(self._sockets):
                due_s = began_s + index * STALL_S / _PROBES
                time.sleep(max(0.0, due_s - time.monotonic()))
                waiting[probe] = time.monotonic()
                probe.sendall(self._payload)
            time.sleep(max(0.0, began_s + STALL_S - time.monotonic()))
        finally:
            os.kill(pid, signal.SIGCONT)
        stalled_s = time.monotonic() - began_s
        waited_s = []
        while waiting:
            ready, _, _ = select.select(list(waiting), [], [], 10)
            if not ready:
                raise NoLoadError("a probe got no answer")
            now_s = time.monotonic()
            waited_s += [now_s - waiting.pop(probe) for probe in ready]
        return stalled_s, waited_s

    def close(self):
        for probe in self._sockets:
            probe.close()
