"""The shell of the example for GitHub Actions, run as a runner runs it."""

import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from triton_kit.project.scaffold import scaffold

pytestmark = pytest.mark.server

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"


def workflow():
    text = re.search(r"^    on: .*?(?=\n\S)", PAGE.read_text(), re.M | re.S)[0]
    return yaml.safe_load(textwrap.dedent(text))


@pytest.mark.long
def test_the_jobs_shell_checks_and_compares_two_checkouts(tmp_path):
    scaffold("digits", tmp_path / "branch")
    shutil.copytree(tmp_path / "branch", tmp_path / "base")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    bin_folder = Path(sys.executable).parent
    summary = tmp_path / "summary.md"
    environment = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(summary),
    }

    steps = workflow()["jobs"]["models"]["steps"]
    for step in (step for step in steps if "name" in step):
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"].replace("8000", port)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{step['name']}\n{done.stdout}{done.stderr}"

    assert "| p50 |" in summary.read_text()
