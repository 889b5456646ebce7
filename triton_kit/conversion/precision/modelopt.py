"""Quantise by NVIDIA's ModelOpt, in a Python that has it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import load_onnx, name_nodes, save_onnx
from triton_kit.conversion.precision.quantize import QUANTIZED_OPS, Quantized
from triton_kit.conversion.workers.child import call_worker, conversion_failed
from triton_kit.conversion.workers.other_python import OtherPython
from triton_kit.conversion.workers.samples import Array, Feed, write_feed
from triton_kit.errors import ConvertError, MissingExtraError, SpecError
from triton_kit.process import python_command, run_child
from triton_kit.scratch import scratch_folder

# It requires torch, and its own extra other versions of onnx and ONNX Runtime than the
# kit has, so it may live in an environment of its own.
PYTHON = OtherPython(
    variable="TRITON_KIT_MODELOPT_PYTHON",
    modules=("modelopt",),
    what="nvidia-modelopt",
    extra="quantize",
)
_METHODS = {"minmax": "max", "entropy": "entropy"}
_VERSION = "from importlib.metadata import version; print(version('nvidia-modelopt'))"
_VERSION_WITHIN_S = 60.0
_QUANTIZED = "quantized.onnx"


def modelopt_version() -> str:
    """Return the version that would quantise.

    Raises:
        MissingExtraError: no Python with ModelOpt is known.
    """
    python = PYTHON.program()
    command = python_command("-c", _VERSION, program=python)
    done = run_child(command, deadline_s=_VERSION_WITHIN_S)
    if done.exit_code != 0:
        raise MissingExtraError(f"{PYTHON.what} in {python}", extra=PYTHON.extra)
    return done.stdout.strip()


def quantize_with_modelopt(
    model: ModelProto,
    feeds: Sequence[Feed],
    *,
    to: str,
    rest: str,
    method: str,
    skip: Mapping[str, str],
    timeout_s: float,
) -> Quantized:
    """Let ModelOpt choose what to quantise, calibrate it and put Q/DQ pairs there.

    What it makes is symmetric, as TensorRT takes it.

    Args:
        model: float32; every node has a name of its own.
        feeds: all calibration samples, in batches of the same size but for the last.
        to: `int8` or `fp8`.
        rest: the precision of everything that is not quantised.
        method: `minmax` or `entropy`.
        skip: nodes to leave alone, each with the reason.

    Raises:
        SpecError: it has no such calibration method.
        ConvertError: it failed, or quantised nothing.
        MissingExtraError: no Python with ModelOpt is known.
    """
    if method not in _METHODS:
        raise SpecError(
            f"ModelOpt has no calibration method {method!r}",
            hint=f"--calibration-method {' or '.join(_METHODS)}",
        )
    modelopt_version()  # says what is missing, if it is
    with scratch_folder() as folder:
        save_onnx(model, folder / "model.onnx")
        options = {
            "to": to,
            "rest": rest,
            "method": _METHODS[method],
            "skip": [f"^{re.escape(name)}$" for name in skip],
        }
        call_worker(
            "precision.modelopt_worker",
            options | _files(folder, feeds),
            timeout_s=timeout_s,
            failed=conversion_failed("ModelOpt does not quantize it"),
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            python=PYTHON.program(),
        )
        quantized = load_onnx(folder / _QUANTIZED)
    if not any(node.op_type == "DequantizeLinear" for node in quantized.graph.node):
        raise ConvertError(
            f"ModelOpt found nothing in this graph to quantise to {to}",
            hint="--quantizer own, or another precision",
        )
    name_nodes(quantized)
    return Quantized(quantized, _left_alone(quantized) | dict(skip))


def _files(folder: Path, feeds: Sequence[Feed]) -> dict[str, object]:
    """Write the samples; return where the worker finds and puts files."""
    samples = {
        name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]
    }
    return {
        "model": str(folder / "model.onnx"),
        "samples": str(folder / "samples.npz"),
        "names": write_feed(samples, folder / "samples.npz"),
        "shapes": ",".join(_shape(name, feeds[0][name]) for name in feeds[0]),
        "quantized": str(folder / _QUANTIZED),
    }


def _shape(name: str, array: Array) -> str:
    return f"{name}:{'x'.join(str(size) for size in array.shape)}"


def _left_alone(model: ModelProto) -> dict[str, str]:
    """Return the nodes that read no quantised value, of those that could."""
    back = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    return {
        node.name: "ModelOpt left it alone"
        for node in model.graph.node
        if node.op_type in QUANTIZED_OPS and not back & set(node.input)
    }
