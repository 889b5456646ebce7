"""An ONNX file's versions against those that the release's ONNX Runtime opens."""

from __future__ import annotations

from pathlib import Path

from triton_kit.artifact import OnnxModel
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.triton.onnx_limits import onnx_limits


def check_onnx_versions(case: Case, model: OnnxModel, path: Path) -> Problems:
    """M21: the file is not newer than the server's ONNX Runtime.

    The embedded server runs the one that is installed here, whatever it is.
    """
    if case.target.is_embedded:
        return
    release, limits = case.target.release, onnx_limits(case.target.release)
    found = []
    if model.opset > limits.opset:
        found.append(f"opset {model.opset} (it takes up to {limits.opset})")
    if model.ir_version > limits.ir_version:
        found.append(
            f"IR version {model.ir_version} (it takes up to {limits.ir_version})"
        )
    if found:
        yield Problem(
            "M21",
            message="the model file is too new for ONNX Runtime "
            f"{release.onnxruntime} of Triton {release.release}: {', '.join(found)}",
            hint=f"triton-kit convert --release {release.release} lowers both, where "
            "the operators allow it",
            file=path,
        )
