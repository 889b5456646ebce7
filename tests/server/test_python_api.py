"""The public Python API, as docs/python.md shows it and as users check its types."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import triton_kit as tk
from triton_kit.project.scaffold import scaffold

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
WITHIN_S = 240
# Messages of protobuf have no types.
MYPY = [
    *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
    *("--follow-imports=silent", "--ignore-missing-imports"),
]

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that the page's examples run in."""
    path = tmp_path_factory.mktemp("api")
    scaffold("digits", path / "my-project")
    return path


@pytest.fixture(scope="module")
def server(folder):
    built = tk.build(folder / "my-project")
    with tk.serve(built.repository) as server:
        yield server


def test_the_examples_of_the_page_run_in_order(folder):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(BLOCKS)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("digits 1 new", "verdict", "max_batch_size: 64", "200/s poisson"):
        assert word in done.stdout
    assert "no-such-project" in done.stdout


def test_the_examples_pass_mypy_strict(tmp_path):
    script = tmp_path / "user.py"
    script.write_text("\n".join(BLOCKS))

    done = subprocess.run(
        [*MYPY, script],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_paths_may_be_texts(folder, monkeypatch):
    monkeypatch.chdir(folder)

    built = tk.build("my-project", output="other/repository", cache="cache")
    converted = tk.convert("my-project/digits.onnx", "out")
    spec = tk.ConvertSpec(source="my-project/digits.onnx", output="out/b.onnx")

    assert built.repository == Path("other/repository")
    assert converted.artifact == Path("out/model.onnx")
    assert tk.convert(spec).artifact == Path("out/b.onnx")
    assert tk.check("other/repository").accepted
    assert tk.diff("other/repository", Path("other/repository")) == []


def test_perf_runs_beside_an_event_loop(server):
    ticks = 0

    async def main():
        nonlocal ticks
        measured = asyncio.ensure_future(
            asyncio.to_thread(tk.perf, "digits", url=server.http_url, request_count=200)
        )
        while not measured.done():
            ticks += 1
            await asyncio.sleep(0.01)
        return measured.result()

    result = asyncio.run(main())

    assert result.runs[0].errors == 0
    assert ticks > 5


def test_jobs_run_in_several_threads_at_once(folder, server):
    outcomes = {}

    def job(name, run):
        outcomes[name] = run()

    jobs = {
        "http": lambda: tk.perf(
            "digits", url=server.http_url, request_count=50, concurrency=2
        ),
        "grpc": lambda: tk.perf(
            "digits", url=server.grpc_url, protocol="grpc", request_count=50
        ),
        "check": lambda: tk.check(folder / "my-project" / "model_repository"),
        "build": lambda: tk.build(folder / "my-project", output=folder / "threaded"),
    }
    threads = [threading.Thread(target=job, args=each) for each in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)

    assert outcomes.keys() == jobs.keys()
    assert outcomes["http"].runs[0].errors == 0
    assert outcomes["grpc"].runs[0].errors == 0
    assert outcomes["check"].accepted
    assert len(outcomes["build"].models) == 3


def test_a_server_starts_and_stops_in_a_thread(folder, server):
    found = []

    def run():
        with tk.serve(str(folder / "my-project" / "model_repository")) as other:
            found.append((other.http_url, other.models))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(WITHIN_S)

    assert found
    assert found[0][0] != server.http_url
    assert found[0][1] == server.models


def test_results_have_a_readable_repr(folder, server):
    built = tk.build(folder / "my-project")
    converted = tk.convert(folder / "my-project" / "digits.onnx", folder / "shown")
    result = tk.perf("digits", url=server.http_url, request_count=20)

    for shown in (built, converted, tk.check(built.repository), result, server):
        assert len(repr(shown)) < 500, repr(shown)
        assert repr(shown).startswith(type(shown).__name__)
    assert repr(result).startswith("PerfResult('digits', Run(concurrency 1: ")
    assert "concurrency 1" in result.table()
