"""A folder of downloads: no Python file that lies there runs in a child of the kit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_models import affine

KIT = Path(sys.executable).with_name("triton-kit")
# Imported first by every child, and imported by NumPy, onnx and ONNX Runtime.
NAMES = ["typing", "numpy", "onnx", "onnxruntime", "json", "random", "triton_kit"]
PLANTED = """
with open({ran!r}, "a") as file:
    file.write(__file__ + "\\n")
raise ImportError("planted")
"""


@pytest.fixture
def downloads(tmp_path):
    """A folder with a model, a repository, a project and planted modules."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in NAMES:
        text = PLANTED.format(ran=str(tmp_path / "ran"))
        (folder / f"{name}.py").write_text(text)
    (folder / "model.onnx").write_bytes(affine())
    (folder / "repository" / "affine" / "1").mkdir(parents=True)
    (folder / "repository" / "affine" / "1" / "model.onnx").write_bytes(affine())
    (folder / "triton-kit.yaml").write_text(
        "name: p\ntargets: {local: {triton: embedded, format: onnx}}\n"
        "models: {m: {source: model.onnx, batching: {max_batch_size: 8}}}\n"
    )
    return folder


def run(folder, *words):
    return subprocess.run(
        [KIT, *words], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "model.onnx"],
        ["convert", "model.onnx", "-o", "out", "--precision", "fp16"],
        ["build"],
        pytest.param(["validate", "repository", "--with-server"], id="validate"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_imports_nothing_from_the_current_folder(words, downloads):
    done = run(downloads, *words)

    assert not (downloads.parent / "ran").exists(), done.stderr
    assert done.returncode == 0, done.stderr


def test_serve_and_the_workers_of_perf_import_nothing_from_there(downloads):
    with subprocess.Popen(
        [KIT, "serve", "repository", "--json", "--client-shared-memory"],
        cwd=downloads,
        stdout=subprocess.PIPE,
    ) as server:
        try:
            url = json.loads(server.stdout.readline())["http_url"]
            words = ["-m", "affine", "-u", url, "--shape", "x:4", "-b", "2"]
            many = ["--concurrency-range", "2", "--processes", "2"]
            count = ["--request-count", "20", "--warm-up", "0"]
            for extra in (many, ["--shared-memory", "system"]):
                done = run(downloads, "perf", *words, *count, *extra)
                assert done.returncode == 0, done.stderr
        finally:
            server.send_signal(signal.SIGINT)

    assert not (downloads.parent / "ran").exists()
