"""The graph is brought to versions that the target's ONNX Runtime opens."""

from __future__ import annotations

import onnx
from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import opset_of
from triton_kit.conversion.onnx.passes import to_opset
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError
from triton_kit.triton.onnx_limits import onnx_limits
from triton_kit.triton.releases import find_release


def fit_release(model: ModelProto, spec: ConvertSpec) -> ModelProto:
    """Lower the file format to what the operators need, and the opset to the target's.

    Exporters write the newest format that they know, which older runtimes refuse
    whatever is in the file.

    Raises:
        ConvertError: an operator has no form that the target's ONNX Runtime has.
    """
    if spec.format == "onnx" and spec.release:
        limits = onnx_limits(find_release(spec.release))
        if opset_of(model) > limits.opset:
            model = _lowered(model, limits.opset, spec)
    needed = onnx.helper.find_min_ir_version_for(
        model.opset_import, ignore_unknown=True
    )
    if model.ir_version > needed:
        copy = ModelProto()
        copy.CopyFrom(model)
        copy.ir_version = needed
        return copy
    return model


def _lowered(model: ModelProto, opset: int, spec: ConvertSpec) -> ModelProto:
    try:
        return to_opset(model, opset)
    except ConvertError as error:
        raise ConvertError(
            f"{spec.source}: {_what(spec, opset)}: {error.message}",
            hint="export it with that opset, or choose a newer release",
        ) from error


def check_release(model: ModelProto, spec: ConvertSpec) -> None:
    """Refuse a candidate whose precision needs operators that the target lacks.

    Raises:
        ConvertError: its opset is newer than the target's ONNX Runtime takes.
    """
    if spec.format != "onnx" or not spec.release:
        return
    limits = onnx_limits(find_release(spec.release))
    if opset_of(model) > limits.opset or model.ir_version > limits.ir_version:
        raise ConvertError(
            f"{spec.source} as {spec.precision} needs opset {opset_of(model)}; "
            f"{_what(spec, limits.opset)}",
            hint="choose another precision, or a newer release",
        )


def _what(spec: ConvertSpec, opset: int) -> str:
    version = find_release(spec.release or "").onnxruntime
    return f"ONNX Runtime {version} of Triton {spec.release} takes up to opset {opset}"
