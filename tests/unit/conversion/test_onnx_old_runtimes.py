"""Artifacts for a release open in the real ONNX Runtime of that release."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from convert_networks import cnn, saved, transformer

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.options.conversion import Calibration
from triton_kit.triton.releases import find_release

CACHE = Path(__file__).parents[3] / ".cache" / "onnxruntimes"
RELEASES = ("24.04", "24.10")
OPEN = """
import sys, onnxruntime as ort
print(ort.__version__)
ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


@pytest.fixture(scope="module", params=RELEASES)
def release(request):
    """A release whose ONNX Runtime is installed in a folder of its own."""
    version = find_release(request.param).onnxruntime
    folder = CACHE / version
    if not (folder / "onnxruntime").is_dir():
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        argv += [
            "--only-binary",
            ":all:",
            "--target",
            folder,
            f"onnxruntime=={version}",
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"pip cannot get onnxruntime {version}: {done.stderr[-200:]}")
    return request.param, version, folder


def opened(path, version, folder):
    """Open a file in that version; return what it says, None where it does."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path)],
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == version, done.stderr
    return done.stderr if done.returncode else None


@pytest.fixture
def sources(tmp_path):
    """Networks of today's file format, and one of tomorrow's opset."""
    old, new = cnn(opset=17), transformer(layers=1, opset=17)
    old.ir_version = new.ir_version = 11
    return saved(old, tmp_path / "cnn.onnx"), saved(new, tmp_path / "tokens.onnx")


def test_the_sources_themselves_do_not_open(sources, release):
    _, version, folder = release

    assert all("IR version" in opened(path, version, folder) for path in sources)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-dynamic"])
def test_artifacts_open(sources, release, tmp_path, precision):
    name, version, folder = release
    source = sources[precision == "int8-dynamic"]
    images = np.random.default_rng(0).random((8, 3, 32, 32), np.float32)
    np.savez(tmp_path / "images.npz", image=images)
    calibration = Calibration(data=tmp_path / "images.npz")

    result = convert(
        ConvertSpec(
            source=source,
            output=tmp_path / "out" / "model.onnx",
            precision=precision,
            release=name,
            calibration=calibration if precision == "int8" else None,
        )
    )

    assert opened(result.artifact, version, folder) is None
