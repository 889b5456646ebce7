"""Child processes end in time, together with their children."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest

from triton_kit.errors import SpecError
from triton_kit.process import (
    describe_exit,
    run_child,
    start_child,
    start_service,
    stop,
    tail,
)

GRANDCHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
GRANDCHILD_IN_FILE = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""
# What a busy machine may need to start Python, twice.
START_S = 5


def python(code):
    return [sys.executable, "-c", code]


def wait_until(condition, *, within_s=60):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_run_child_returns_output_and_exit_code():
    done = run_child(
        python("import sys; print(input()); sys.exit(3)"), deadline_s=60, stdin="hello"
    )

    assert (done.stdout, done.exit_code, done.ending) == ("hello\n", 3, "exit code 3")


def test_the_ending_names_the_signal_that_killed_a_child():
    done = run_child(
        python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), deadline_s=60
    )

    assert done.ending == "killed by SIGSEGV"


def test_the_deadline_kills_a_child_and_its_children():
    done = run_child(python(GRANDCHILD), deadline_s=START_S)

    assert done.ending == "out of time"
    wait_until(lambda: is_gone(int(done.stdout)))


def test_a_child_runs_before_it_is_waited_for(tmp_path):
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(input())"
    argv = [*python(code), str(tmp_path / "file")]

    with start_child(argv, deadline_s=60, stdin="hello") as finish:
        wait_until((tmp_path / "file").is_file)
        assert finish().exit_code == 0


def test_leaving_start_child_kills_the_child_and_its_children(tmp_path):
    log = tmp_path / "log"
    with start_child([*python(GRANDCHILD_IN_FILE), str(log)], deadline_s=60):
        wait_until(lambda: log.is_file() and log.read_text())

    wait_until(lambda: is_gone(int(log.read_text())))


def test_a_child_that_ended_in_time_may_be_waited_for_later(tmp_path):
    code = "import sys, pathlib; print('done'); pathlib.Path(sys.argv[1]).touch()"
    argv = [*python(code), str(tmp_path / "file")]

    with start_child(argv, deadline_s=START_S) as finish:
        wait_until((tmp_path / "file").is_file)
        time.sleep(START_S)
        assert (done := finish()).stdout == "done\n"

    assert done.ending == "exit code 0"


def test_a_grandchild_left_running_does_not_block_the_wait(tmp_path):
    """The grandchild has the child's output open."""
    code = GRANDCHILD_IN_FILE.replace("time.sleep(600)\n", "")
    with start_child(
        [*python(code), str(tmp_path / "file")], deadline_s=START_S
    ) as finish:
        wait_until(lambda: (tmp_path / "file").is_file())
        time.sleep(START_S)
        assert finish().exit_code == 0

    wait_until(lambda: is_gone(int((tmp_path / "file").read_text())))


def test_the_deadline_counts_from_the_start():
    with start_child(python("import time; time.sleep(600)"), deadline_s=0.5) as finish:
        time.sleep(0.5)
        began_s = time.monotonic()
        assert finish().ending == "out of time"

    assert time.monotonic() - began_s < 60


def test_leaving_start_service_stops_the_child_and_its_children(tmp_path):
    log = tmp_path / "log"
    with start_service(python(GRANDCHILD), log=log, stop_within_s=5) as process:
        wait_until(lambda: log.read_text().strip())

    assert process.returncode is not None
    wait_until(lambda: is_gone(int(log.read_text())))


def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    log = tmp_path / "log"
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(600)"
    )
    with start_service(python(code), log=log, stop_within_s=0.2) as process:
        wait_until(lambda: log.read_text().strip())

    assert describe_exit(process.returncode) == "killed by SIGKILL"


def test_a_child_is_stopped_when_the_body_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117
        with start_service(
            python("import time; time.sleep(600)"),
            log=tmp_path / "log",
            stop_within_s=5,
        ) as process:
            _ = 1 / 0

    assert process.returncode is not None


@pytest.mark.parametrize("way", ["start_service", "start_child"])
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_a_child_ends_when_its_parent_is_killed(way, tmp_path):
    noted = tmp_path / "pid"
    child = python(
        f"import os, pathlib, time; pathlib.Path({str(noted)!r}).write_text("
        "str(os.getpid())); time.sleep(600)"
    )
    options = {
        "start_service": f"log=pathlib.Path({str(noted)!r} + '.log'), stop_within_s=5",
        "start_child": "deadline_s=600",
    }
    parent = subprocess.Popen(
        python(
            "import pathlib, time; from triton_kit import process\n"
            f"with process.{way}({child!r}, {options[way]}): time.sleep(600)"
        )
    )
    wait_until(lambda: noted.exists() and noted.read_text())
    pid = int(noted.read_text())

    parent.kill()
    parent.wait()

    wait_until(lambda: is_gone(pid))


@pytest.mark.parametrize(
    "setpriv", [None, "#!/bin/sh\necho unknown option >&2; exit 1"]
)
def test_children_start_where_setpriv_is_missing_or_too_old(setpriv, tmp_path):
    if setpriv:
        (tmp_path / "setpriv").write_text(setpriv)
        (tmp_path / "setpriv").chmod(0o755)
    code = (
        "import sys; from triton_kit.process import run_child; "
        "done = run_child([sys.executable, '-c', 'print(1)'], deadline_s=60); "
        "print(done.ending, done.stdout, end='')"
    )

    # None, or one that does not know the option.
    done = subprocess.run(
        python(code), env=os.environ | {"PATH": str(tmp_path)}, capture_output=True
    )

    assert done.stdout == b"exit code 0 1\n", done.stderr


def test_a_child_outlives_the_thread_that_started_it(tmp_path):
    ready = tmp_path / "ready"
    child = python(
        f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )
    stack = ExitStack()

    def start():
        process = stack.enter_context(
            start_service(child, log=tmp_path / "log", stop_within_s=5)
        )
        wait_until(ready.exists)
        return process

    with stack:
        with ThreadPoolExecutor() as pool:
            process = pool.submit(start).result()

        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)


def test_stopping_twice_is_harmless(tmp_path):
    with start_service(
        python("pass"), log=tmp_path / "log", stop_within_s=5
    ) as process:
        stop(process, within_s=5)

    assert process.returncode is not None


def test_the_tail_is_the_last_lines(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"\xff first\n" + b"".join(b"%d\n" % n for n in range(100)))

    assert tail(log, lines=2) == "98\n99"
    assert tail(tmp_path / "absent") == ""


def test_describe_exit_knows_every_number():
    assert describe_exit(-200) == "killed by signal 200"
    assert describe_exit(-os.EX_OK) == "exit code 0"


STOPPED = """
import os, signal, sys, threading
from triton_kit.process import run_child

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
threading.Timer(float(sys.argv[1]), os.kill, [os.getpid(), signal.SIGTERM]).start()
while True:
    run_child(["sleep", sys.argv[2]], deadline_s=0.002)
"""


@pytest.mark.parametrize("round_", range(12))
def test_a_signal_while_a_child_is_started_leaves_no_child(round_):
    """Started over and over, most of the time goes into starting."""
    word = f"3{os.getpid()}.{round_}"  # seconds, and a mark to find it by
    delay_s = 0.2 + 0.0017 * round_

    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(delay_s), word], check=False
    )

    left = [p for p in psutil.process_iter(["cmdline"]) if is_of(p, word)]
    for process in left:
        process.kill()
    assert done.returncode == 143
    assert not left


def is_of(process, word):
    return word in (process.info["cmdline"] or [])


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    log = tmp_path / "absent" / "log"

    with (
        pytest.raises(SpecError, match="cannot write a log there: No such file"),
        start_service(python(""), log=log, stop_within_s=5),
    ):
        pass
