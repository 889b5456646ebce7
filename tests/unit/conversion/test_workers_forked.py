"""Workers that are forked end as those that start by themselves, and with the kit."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest

from triton_kit.conversion.workers.child import call_worker, conversion_failed
from triton_kit.conversion.workers.forked import (
    ForkServerEndedError,
    preloaded_workers,
    start_forked,
)
from triton_kit.errors import ConvertError
from triton_kit.process import NO_TELEMETRY, python_command, start_child

WORKER = """
import ctypes, os, subprocess, sys, threading, time


def work(request):
    print("it talks")
    return globals()[request["do"]](request)


def says_who(request):
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "threads": threading.active_count(),
        "name": open("/proc/self/comm").read().strip(),
    }


def crashes(request):
    ctypes.string_at(0)


def is_killed(request):
    os.kill(os.getpid(), 9)


def raises(request):
    raise ValueError("no good")


def leaves(request):
    os._exit(0)


def says_much(request):
    sys.stderr.write("e" * 1_000_000)
    return "o" * 1_000_000


def hangs(request):
    time.sleep(3600)


def leaves_an_heir(request):
    code = "import time; time.sleep(3600)"
    return subprocess.Popen([sys.executable, "-S", "-c", code]).pid
"""
THREADED = (
    "import threading, time\nthreading.Thread(target=time.sleep, args=[9e5]).start()"
)
NO_FORK = """
import errno, os


def fork():
    raise OSError(errno.EAGAIN, "no more")


os.fork = fork
"""
KIT = """
import sys, time
from triton_kit.conversion.workers.child import call_worker, conversion_failed
from triton_kit.conversion.workers.forked import (
    ForkServerEndedError,
    preloaded_workers,
    start_forked,
)
from triton_kit.errors import ConvertError

with preloaded_workers():
    env = dict(PYTHONPATH=sys.argv[1])
    request = '{"do": "hangs"}'
    with start_forked("some_worker", request, deadline_s=3600, env=env) as finish:
        print("started", flush=True)
        finish()
"""


@pytest.fixture
def env(tmp_path):
    (tmp_path / "some_worker.py").write_text(WORKER)
    return os.environ | NO_TELEMETRY | {"PYTHONPATH": str(tmp_path)}


@pytest.fixture
def workers():
    with preloaded_workers():
        yield


def forked(do, env, *, deadline_s=120, module="some_worker"):
    request = json.dumps({"do": do})
    with start_forked(module, request, deadline_s=deadline_s, env=env) as finish:
        return finish()


def plain(do, env, *, deadline_s=120):
    argv = python_command("-m", "triton_kit.conversion.workers.worker", "some_worker")
    request = json.dumps({"do": do})
    with start_child(argv, deadline_s=deadline_s, stdin=request, env=env) as finish:
        return finish()


def test_forked_workers_are_processes_of_one_server(workers, env):
    first, second = (json.loads(forked("says_who", env).stdout) for _ in range(2))

    assert first["parent"] == second["parent"] != os.getpid()
    assert first["pid"] != second["pid"]
    assert first["session"] == first["pid"]
    assert (first["threads"], first["name"]) == (1, "some_worker")
    assert not psutil.pid_exists(first["pid"])


@pytest.mark.parametrize(
    "do", ["crashes", "is_killed", "raises", "leaves", "says_much"]
)
def test_forked_workers_end_as_others_do(workers, env, do):
    assert forked(do, env) == plain(do, env)


def test_a_forked_worker_stops_at_its_deadline(workers, env):
    assert forked("hangs", env, deadline_s=2).ending == "out of time"
    assert forked("says_who", env).exit_code == 0


def test_children_of_a_forked_worker_end_with_it(workers, env):
    heir = json.loads(forked("leaves_an_heir", env).stdout)

    assert await_end(heir)


def test_workers_run_side_by_side(workers, env):
    request = json.dumps({"do": "hangs"})
    with start_forked("some_worker", request, deadline_s=3600, env=env):
        assert forked("says_who", env).exit_code == 0


def test_a_library_with_threads_is_imported_by_each_worker(workers, env, tmp_path):
    (tmp_path / "threaded.py").write_text("work = len\n" + THREADED)
    forked("", env, module="threaded", deadline_s=5)

    found = json.loads(forked("says_who", env).stdout)

    assert found["name"].startswith("python")


def test_workers_start_by_themselves_if_the_server_is_killed(workers, env):
    server = json.loads(forked("says_who", env).stdout)["parent"]
    request = json.dumps({"do": "hangs"})
    with start_forked("some_worker", request, deadline_s=3600, env=env) as finish:
        os.kill(server, signal.SIGKILL)
        with pytest.raises(ForkServerEndedError, match="killed by SIGKILL"):
            finish()

    with start_forked("some_worker", request, deadline_s=3600, env=env) as finish:
        assert finish is None


def test_a_server_that_does_not_start_says_why(workers, env, tmp_path, monkeypatch):
    (tmp_path / "selectors.py").write_text("raise ImportError('half installed')")
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConvertError) as caught:
        call_worker(
            "workers.types_worker",
            {},
            timeout_s=120,
            failed=conversion_failed("types"),
            preloaded=True,
        )

    assert "starts workers ended early: exit code 1" in caught.value.message
    assert caught.value.message.endswith("ImportError: half installed")
    assert "PYTHONPATH" in caught.value.hint


def test_a_server_without_file_descriptors_says_why(workers, env):
    server = json.loads(forked("says_who", env).stdout)["parent"]
    resource.prlimit(server, resource.RLIMIT_NOFILE, (4, 4))

    with pytest.raises(ForkServerEndedError) as caught:
        forked("says_who", env)

    assert caught.value.finished.exit_code == 1
    assert "Traceback" in caught.value.finished.stderr


def test_a_worker_that_cannot_be_forked_says_why(workers, env, tmp_path):
    (tmp_path / "no_fork.py").write_text(NO_FORK)

    done = forked("", env, module="no_fork")

    assert (done.exit_code, done.stderr) == (1, "cannot fork a worker: no more\n")


def test_workers_start_by_themselves_outside_of_a_conversion(env):
    with start_forked("some_worker", "{}", deadline_s=60, env=env) as finish:
        assert finish is None


def test_forked_workers_end_with_a_kit_that_is_killed(env, tmp_path):
    argv = [sys.executable, "-c", KIT, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as kit:
        assert kit.stdout.readline() == b"started\n"
        server, worker = await_family(kit.pid)
        kit.kill()

    assert await_end(server)
    assert await_end(worker)


def await_family(pid):
    """Return the process ids of the server and of its worker."""
    deadline = time.monotonic() + 120
    while True:
        children = psutil.Process(pid).children(recursive=True)
        if len(children) == 2 and children[-1].name() == "some_worker":
            return [child.pid for child in children]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def await_end(pid):
    deadline = time.monotonic() + 120
    while psutil.pid_exists(pid):
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True  # of a parent that ended first
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
