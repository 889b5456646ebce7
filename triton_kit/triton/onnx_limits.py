"""The newest ONNX files that a release's ONNX Runtime opens."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.triton.releases import Release


@dataclass(frozen=True, slots=True)
class OnnxLimits:
    """The largest version of the file format and of the default operator set."""

    ir_version: int
    opset: int


# By the first ONNX Runtime that has them. Measured: each wheel opened files of every
# version with one Relu in them.
_LIMITS = {
    (1, 17): OnnxLimits(9, 20),
    (1, 18): OnnxLimits(10, 21),
    (1, 21): OnnxLimits(10, 22),
    (1, 23): OnnxLimits(11, 23),
    (1, 24): OnnxLimits(13, 25),
    (1, 27): OnnxLimits(13, 26),
}


def onnx_limits(release: Release) -> OnnxLimits:
    """Return what a release's ONNX Runtime opens."""
    major, minor = map(int, release.onnxruntime.split(".")[:2])
    return _LIMITS[max(known for known in _LIMITS if known <= (major, minor))]
