"""What TensorRT's parser refuses, known without TensorRT: node and reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from triton_kit.conversion.onnx.onnx_file import all_nodes, value_types
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError

_NAMED = 3
_RUN_TIME = "it quantizes at run time"
_INTEGER = "it computes in integers of ONNX, and TensorRT takes only Q/DQ pairs"
_OPS: Mapping[str, str] = {
    "DynamicQuantizeLinear": _RUN_TIME,
    "ConvInteger": _INTEGER,
    "MatMulInteger": _INTEGER,
    "QLinearConv": _INTEGER,
    "QLinearMatMul": _INTEGER,
}
_MICROSOFT = "com.microsoft"
_ML = "ai.onnx.ml"
_TYPES: Mapping[int, str] = {
    TensorProto.STRING: "strings",
    TensorProto.COMPLEX64: "complex numbers",
    TensorProto.COMPLEX128: "complex numbers",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
}
_FROM_FLOATS = (
    "start from the float model: --precision int8 quantizes it as TensorRT requires"
)


def refuse_unsupported(model: ModelProto, spec: ConvertSpec) -> None:
    """Refuse a graph that no TensorRT builds, before any plan is asked for.

    Raises:
        ConvertError: names the first nodes or tensors, each with the reason.
    """
    if spec.format == "onnx":
        return
    found = list(_refusals(model))
    if not found:
        return
    more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    is_quantized = any("quantiz" in text or "integers" in text for text in found)
    raise ConvertError(
        f"{spec.source}: TensorRT does not build it: {'; '.join(found[:_NAMED])}{more}",
        hint=_FROM_FLOATS
        if is_quantized
        else "serve it as ONNX (--artifact onnx), or replace these nodes by a graph "
        "pass (--pass)",
    )


def _refusals(model: ModelProto) -> Iterator[str]:
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.tensor_type.elem_type
        if kind in _TYPES:
            yield f"{value.name!r} holds {_TYPES[kind]}"
        elif not value.type.HasField("tensor_type"):
            yield f"{value.name!r} is no tensor"
    types = value_types(model)
    constants = {t.name: t for t in model.graph.initializer}
    for node in all_nodes(model.graph):
        if reason := _reason(node, types, constants):
            yield f"node {node.name!r} ({node.op_type}): {reason}"


def _reason(
    node: NodeProto,
    types: Mapping[str, int],
    constants: Mapping[str, TensorProto],
) -> str | None:
    if node.domain == _ML:
        return "TensorRT has no operators of ai.onnx.ml"
    if node.op_type in _OPS:
        return _OPS[node.op_type]
    if node.domain == _MICROSOFT and node.op_type.startswith("QLinear"):
        return _INTEGER
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _zero_point_reason(node, constants)
    for name in (*node.input, *node.output):
        if types.get(name, 0) in _TYPES:
            return f"{name!r} holds {_TYPES[types[name]]}"
    return None


def _zero_point_reason(
    node: NodeProto, constants: Mapping[str, TensorProto]
) -> str | None:
    if len(node.input) < 3 or node.input[2] not in constants:
        return None
    zero = constants[node.input[2]]
    if zero.data_type == TensorProto.UINT8:
        return "it quantizes to uint8, TensorRT takes int8"
    if zero.data_type in (TensorProto.INT8, TensorProto.INT32):
        values = numpy_helper.to_array(zero)
        if np.any(values != 0):
            return "it quantizes with a zero point that is not 0"
    return None
