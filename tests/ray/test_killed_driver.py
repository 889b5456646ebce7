"""The driver of a build is killed while its tasks run."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from clusters import contents_of, end_all, eventually, waiting_pass

# Waits in the process that runs passes, and says which processes are above it.
PASS = """
import os
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

def wait(model):
    here = Path(__file__).parent
    folder = Path({marks!r})
    chain = [psutil.Process(), *psutil.Process().parents()]
    text = "\\n".join(f"{{p.pid}} {{p.create_time()}}" for p in chain)
    mark = folder / str(os.getpid())
    mark.with_suffix(".new").write_text(text)
    mark.with_suffix(".new").rename(mark.with_suffix(".mark"))
    while folder.exists() and not (folder / "go").exists():
        time.sleep(0.05)
    return model
"""


@pytest.fixture
def waiting_nets(nets, tmp_path):
    """The project, with a pass that waits; yields it and the folder of its marks."""
    with waiting_pass(nets, tmp_path, PASS) as marks:
        yield nets, marks


@contextmanager
def started(folder, *words, tmp):
    words = ["build", str(folder), "--no-cache", *words]
    process = subprocess.Popen(
        [sys.executable, "-m", "triton_kit", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp)},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end_all(process)


def processes_of_tasks(marks):
    """Return the processes that run the tasks, and their children that run passes."""
    found = {}
    for mark in marks.glob("*.mark"):
        for line in mark.read_text().splitlines():
            pid, created_s = line.split()
            try:
                process = psutil.Process(int(pid))
                line = " ".join(process.cmdline())
                is_same = process.create_time() == float(created_s)
            except psutil.Error:
                continue
            if is_same and any(word in line for word in TASK_WORDS):
                found[process.pid] = process
    return found


TASK_WORDS = ("ray::TaskHost", "execute.task_worker", "conversion.workers")


def scratch_of_nodes():
    return set(Path(os.environ["TMPDIR"]).glob("triton-kit-*"))


def names_below(folder):
    """Return the names of its files; Python's own of the pass come and go."""
    return {name for name in contents_of(folder) if "__pycache__" not in name}


def is_running(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("where", [("-j", "2"), ("--executor", "ray")], ids=" ".join)
def test_a_killed_driver_leaves_no_task_and_no_file(
    waiting_nets, cluster, where, tmp_path
):
    (nets, marks), before = waiting_nets, names_below(waiting_nets[0])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    older = scratch_of_nodes()
    with started(nets, *where, tmp=scratch) as driver:
        eventually(lambda: len([*marks.glob("*.mark")]) == 2 or driver.poll())
        tasks = processes_of_tasks(marks)
        assert len(tasks) == 4

        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()

        eventually(lambda: not any(map(is_running, tasks.values())))
    assert names_below(nets) == before

    # The next build removes what a killed one could not, once that is a minute old.
    left = [*scratch.iterdir(), *(scratch_of_nodes() - older)]
    for folder in left:
        with suppress(FileNotFoundError):
            os.utime(folder, (0, 0))
    (marks / "go").touch()
    with started(nets, *where, tmp=scratch) as again:
        assert again.wait() == 0
    assert [folder.name for folder in left if folder.exists()] == []
