"""Measures any load generator alike, from outside: /proc and the server's counter."""

import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_POLL_S = 0.02
# The foreign load below which a run counts as undisturbed.
QUIET_CORES = 0.25
_CALM_WITHIN_S = 3.0
_LOOK_S = 0.3
# Counters that were read within this belong together.
_AT_ONCE_S = 0.03
_MOST_READS = 5


_END_WITHIN_S = 60


class NoLoadError(Exception):
    """The client ended, or its load never came."""


@dataclass(frozen=True)
class Sample:
    """Counters at one moment, each ever growing; CPU in seconds."""

    at_s: float
    answered: int
    client_s: float
    server_s: float
    own_s: float
    machine_s: float


@dataclass(frozen=True)
class Window:
    """What happened between two samples."""

    seconds: float
    requests_per_s: float
    client_us: float  # CPU per request, children included
    server_us: float
    foreign_cores: float  # kept busy by none of client, server and bench

    def as_json(self):
        return asdict(self)


def between(first, last):
    """Return the rates between two samples."""
    seconds = last.at_s - first.at_s
    answered = last.answered - first.answered
    if not answered:
        raise NoLoadError("the server answered nothing in the measured window")
    client_s, server_s = last.client_s - first.client_s, last.server_s - first.server_s
    ours_s = client_s + server_s + last.own_s - first.own_s
    return Window(
        seconds=seconds,
        requests_per_s=answered / seconds,
        client_us=client_s * 1e6 / answered,
        server_us=server_s * 1e6 / answered,
        foreign_cores=(last.machine_s - first.machine_s - ours_s) / seconds,
    )


def cpu_s(pid):
    """Return user and system time of a process and all below it, ended ones too."""
    total = 0.0
    try:
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            spent = member.cpu_times()
            total += spent.user + spent.system
            total += spent.children_user + spent.children_system
    except psutil.NoSuchProcess:
        pass
    return total


def machine_s():
    """Return the busy CPU time of the machine since its start."""
    busy = psutil.cpu_times()
    return busy.user + busy.nice + busy.system + busy.irq + busy.softirq + busy.steal


def wait_until_calm():
    """Give others' work a chance to end; what comes is measured anyway."""
    deadline_s = time.monotonic() + _CALM_WITHIN_S
    while time.monotonic() < deadline_s:
        before_s = machine_s()
        time.sleep(_LOOK_S)
        if (machine_s() - before_s) / _LOOK_S < QUIET_CORES:
            return


def sample(client, server, counter):
    """Read all counters at one moment; again where something came in between."""
    for _ in range(_MOST_READS):
        read = Sample(
            at_s=time.monotonic(),
            answered=counter.read(),
            client_s=cpu_s(client.pid),
            server_s=cpu_s(server.pid),
            own_s=time.process_time(),
            machine_s=machine_s(),
        )
        if time.monotonic() - read.at_s < _AT_ONCE_S:
            break
    return read


def run(argv, *, env, server, counter, window_s, settle_s, log):
    """Run a load generator to its end, and measure a window of its load.

    Args:
        argv: the command.
        env: its whole environment.
        server, counter: whose requests to count.
        window_s: how long to measure.
        settle_s: how long after the first request the window begins.
        log: where the output of the command goes.

    Raises:
        NoLoadError: it failed, or ended before the window did.
    """
    wait_until_calm()
    before = counter.read()
    with Path(log).open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=log.parent
        )
        try:
            _wait_for_load(process, counter, before, log)
            time.sleep(settle_s)
            first = sample(process, server, counter)
            time.sleep(window_s)
            last = sample(process, server, counter)
            if process.poll() is not None:
                raise NoLoadError(f"{argv[0]} ended within the window: {tail(log)}")
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            message = f"{argv[0]} did not end within {_END_WITHIN_S} s: {tail(log)}"
            raise NoLoadError(message) from error
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if process.returncode:
        raise NoLoadError(f"{argv[0]} ended with {process.returncode}: {tail(log)}")
    return between(first, last)


def _wait_for_load(process, counter, before, log):
    deadline_s = time.monotonic() + 30
    # A few requests are questions or a rehearsal; more than that is the load.
    while counter.read() < before + 20:
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise NoLoadError(f"no load came: {tail(log)}")
        time.sleep(_POLL_S)


def tail(log):
    """Return the end of a client's output."""
    return log.read_text(errors="replace")[-600:]
