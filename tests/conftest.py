"""What every test may ask for."""

import os
import shutil
import signal
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

import second_try
from nap_project import write_naps
from triton_kit.cli import main
from triton_kit.errors import SpecError
from triton_kit.loadtest.net.scheduling import at_real_time
from triton_kit.project.scaffold import scaffold

# A script that runs the tests in the background has the shell ignore Ctrl-C for them;
# every child would, too, and some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    config.pluginmanager.register(second_try)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Each test converts by itself; none finds what another one left."""
    monkeypatch.setenv("TRITON_KIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def kit():
    """Runs the command line in this process: `kit("build", folder)`."""

    def run(*words):
        return CliRunner().invoke(
            main, [str(word) for word in words], prog_name="triton-kit"
        )

    return run


@pytest.fixture
def digits(tmp_path):
    """A fresh copy of the digits project."""
    folder = tmp_path / "digits"
    scaffold("digits", folder)
    return folder


@pytest.fixture
def naps(tmp_path):
    """A project whose model sleeps 10 ms: more instances do more."""
    return write_naps(tmp_path / "naps")


@pytest.fixture
def real_time_granted():
    """Skip where this process may have no real-time priority."""
    try:
        with at_real_time():
            pass
    except SpecError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def digits_recipe():
    """The digits project as the kit ships it; read it, do not write to it."""
    return Path(str(files("triton_kit.templates") / "projects" / "digits"))


@pytest.fixture
def small_disk(tmp_path):
    """Mount a tmpfs of a number of bytes; skips where that is not allowed."""
    mounts = []

    def mount(size):
        folder = tmp_path / f"disk-{size}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        mounts.append(folder)
        return folder

    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("to mount a small disk takes root")
    yield mount
    for folder in mounts:
        subprocess.run(["umount", folder], check=True)
