"""Tests that need an NVIDIA GPU, and onnxruntime-gpu with its CUDA libraries."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

for _folder in ("server", "unit/conversion", "bench/gpu"):
    sys.path.append(str(Path(__file__).parents[1] / _folder))


def _why_not():
    """Return why no test here can run; empty where they can."""
    import onnxruntime as ort

    if not shutil.which("nvidia-smi"):
        return "no NVIDIA GPU: nvidia-smi is not installed"
    listed = subprocess.run(
        ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False
    )
    if listed.returncode or not listed.stdout.strip():
        return "no NVIDIA GPU: nvidia-smi lists none"
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "this onnxruntime has no CUDA: pip install onnxruntime-gpu"
    return ""


def pytest_collection_modifyitems(items):
    """Skip the tests of this folder; pytest hands over those of every folder."""
    here = Path(__file__).parent
    items = [item for item in items if here in item.path.parents]
    reason = _why_not() if items else ""
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
