"""The main job, as a newcomer runs it: from the tree, and from an installed wheel."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
WITHIN_S = 240

pytestmark = pytest.mark.server


def run(argv, folder, **env):
    return subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One run of the demo: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    done = run(["-m", "triton_kit", "demo", "--output", "out"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out", done.stdout


def test_the_demo_ends_with_the_promised_summary(demo):
    folder, printed = demo
    summary = json.loads((folder / "summary.json").read_text())

    assert summary["server_version"] == "2.51.0"
    assert summary["accuracy"] >= 0.97
    assert summary["errors"] == 0, printed
    assert summary["requests"] > 360
    assert summary["throughput_rps"] > 0
    assert 0 < summary["latency_us"]["p50"] <= summary["latency_us"]["p99"]
    assert [stage["name"] for stage in summary["stages"]] == [
        "scaffold",
        "build",
        "start server",
        "score 360 images",
        "load-test digits",
        "load-test read_digit",
        "stop server",
    ]


def test_the_demo_leaves_the_repository_and_the_full_results(demo):
    folder, _ = demo

    assert (folder / "model_repository" / "read_digit" / "config.pbtxt").is_file()
    results = json.loads((folder / "results" / "digits.json").read_text())
    assert len(results["runs"]) == 3


def test_the_demo_prints_plain_text_and_what_to_try_next(demo):
    _, printed = demo

    assert "Next:" in printed
    assert printed.isascii()
    assert "\x1b" not in printed


def test_the_demo_leaves_no_process(demo):
    folder, _ = demo

    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or [])
    ]
    assert left == []


def test_the_demo_refuses_a_folder_of_another_tool(tmp_path):
    (tmp_path / "file").write_text("mine")

    done = run(["-m", "triton_kit", "demo", "--output", "."], tmp_path)

    assert done.returncode == 2
    assert "neither an empty folder nor an earlier demo" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_wheel_installed_elsewhere_runs_the_demo(tmp_path):
    site, tree = tmp_path / "site", tmp_path / "tree"
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "demo")
    )
    built = run(
        ["-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, tree], tree
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = run(
        ["-m", "pip", "install", "--no-deps", "--target", site, wheel], tmp_path
    )
    assert installed.returncode == 0, installed.stderr
    where = run(
        ["-c", "import triton_kit; print(triton_kit.__file__)"],
        tmp_path,
        PYTHONPATH=str(site),
    )
    assert where.stdout.startswith(str(site))

    done = run(
        ["-m", "triton_kit", "demo", "--output", "out"], tmp_path, PYTHONPATH=str(site)
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["errors"] == 0
