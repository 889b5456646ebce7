"""What a killed kit leaves is removed by the next server's start."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from triton_kit.scratch import scratch_folder
from triton_kit.serving.memory import new_prefix, remove_regions
from triton_kit.serving.workspace import note_memory, workspace

AN_HOUR_AGO = 3600
KEEP = """
import sys, time
from triton_kit.serving.workspace import note_memory, workspace
with workspace() as folder:
    note_memory(folder, sys.argv[1])
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_tmp(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def age(folder):
    then = time.time() - AN_HOUR_AGO
    os.utime(folder, (then, then))


def test_the_folder_and_memory_of_a_killed_kit_are_removed():
    prefix = new_prefix()
    region = Path("/dev/shm") / f"{prefix}region"
    argv = [sys.executable, "-c", KEEP, prefix]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        left = Path(process.stdout.readline().strip())
        region.touch()
        age(left)
        with workspace():
            assert left.is_dir()  # its kit runs
        process.send_signal(signal.SIGKILL)
        process.wait()

    with workspace() as folder:
        assert folder.is_dir()
        assert not left.exists()
        assert not region.exists()
    assert not folder.exists()


def test_a_new_folder_and_foreign_ones_stay(tmp_path):
    new = tmp_path / "triton-kit-server-new"
    new.mkdir()
    link = tmp_path / "triton-kit-server-link"
    victim = tmp_path / "victim"
    victim.mkdir()
    link.symlink_to(victim)
    if os.geteuid() == 0:
        foreign = tmp_path / "triton-kit-server-foreign"
        foreign.mkdir()
        os.chown(foreign, 65534, 65534)
        age(foreign)

    with workspace():
        pass

    assert new.is_dir()
    assert victim.is_dir()
    assert os.geteuid() != 0 or foreign.is_dir()


@pytest.mark.parametrize("prefix", ["", "*", "../", "triton-kit-1-", "x"])
def test_only_memory_of_a_server_is_removed(prefix, tmp_path):
    with pytest.raises(ValueError, match="not the memory of a server"):
        remove_regions(prefix)
    with workspace() as folder:
        note_memory(folder, prefix)


def test_the_work_of_a_killed_build_is_removed_by_the_next():
    code = KEEP.replace(
        "from triton_kit.serving.workspace import note_memory, workspace",
        "from triton_kit.scratch import scratch_folder",
    )
    code = code.replace("workspace()", "scratch_folder()")
    code = code.replace("    note_memory(folder, sys.argv[1])\n", "")
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        left = Path(process.stdout.readline().strip())
        (left / "half.onnx").touch()
        age(left)
        process.send_signal(signal.SIGKILL)
        process.wait()

    with scratch_folder():
        assert not left.exists()
