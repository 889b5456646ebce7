"""Every command that the README and the docs tell people to run, run as it stands.

A fenced `sh` block is a promise: its lines work, in order, from an empty folder, all
the blocks of a page one after another. `pip install` is only looked up; the port that
examples name is replaced by a free one.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Half a minute and more each: `scripts/bench long` runs them.
LONG = ("compare.md", "publish.md")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLE_PORT = "8000"
WITHIN_S = 120

pytestmark = pytest.mark.server


def commands(page):
    blocks = BLOCK.findall(page.read_text())
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def environment():
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "NO_COLOR": "1"}


def check_install(line):
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    for extra in re.findall(r"triton_kit\[(\w+)\]", line):
        assert extra in parser["options.extras_require"]


@contextmanager
def served(argv, folder, port):
    """Run a `triton-kit serve` until its port is ready; stop it as Ctrl-C does."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment(), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + WITHIN_S
        while not answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WITHIN_S)


def answers(port):
    url = f"http://127.0.0.1:{port}/v2/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            return reply.status == 200
    except OSError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.long if page.name in LONG else ())
        for page in PAGES
    ],
    ids=lambda page: page.name,
)
def test_the_commands_of_a_page_work(page, tmp_path):
    port = free_port()
    with ExitStack() as background:
        for line in commands(page):
            if line.startswith("pip install"):
                check_install(line)
                continue
            argv = shlex.split(line.replace(EXAMPLE_PORT, port), comments=True)
            assert argv[0] == "triton-kit", line
            if argv[1] == "serve":
                background.enter_context(served(argv, tmp_path, port))
                continue
            done = subprocess.run(
                argv,
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=WITHIN_S,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_the_readme_starts_with_the_two_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    indented = [line.strip() for line in lines if line.startswith("    ")]

    assert indented[:2] == ["./scripts/demo", "./scripts/test"]
    assert all((ROOT / line).stat().st_mode & 0o111 for line in indented[:2])


def test_links_in_the_docs_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), link
