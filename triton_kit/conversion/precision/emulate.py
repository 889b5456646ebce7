"""Make a float32 graph that rounds like a float16 or bfloat16 one.

ONNX Runtime's CPU kernels compute float16 in float32 and leave out the rounding in
between (1.31: `x * 300 * 300 / 90000` in float16 gives `x`, where a GPU gives inf),
and have no bfloat16 kernels at all. So an artifact is also run as this: its own
weights, float32 kernels, and every value rounded where the artifact stores it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from onnx import (
    AttributeProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from triton_kit.conversion.onnx.onnx_file import all_nodes, value_types
from triton_kit.options.conversion import QUANTIZED

INTEGER_OPS = (
    "DequantizeLinear",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeLSTM",
)
_LOW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def is_low(model: ModelProto) -> bool:
    """Say whether any value of the graph is float16 or bfloat16."""
    return any(kind in _LOW for kind in value_types(model).values())


def lowest_precision(model: ModelProto) -> Literal["bf16", "fp16", "fp32"]:
    """Return `bf16`, `fp16` or `fp32`, whichever is the least precise in a graph."""
    kinds = set(value_types(model).values())
    if TensorProto.BFLOAT16 in kinds:
        return "bf16"
    return "fp16" if TensorProto.FLOAT16 in kinds else "fp32"


def holds(model: ModelProto, precision: str) -> bool:
    """Say whether anything in a graph is in a precision; fp32 asks for nothing."""
    if precision in QUANTIZED:
        ops = {node.op_type for node in all_nodes(model.graph)}
        return any(op.endswith(INTEGER_OPS) for op in ops)
    kind = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}.get(precision)
    return kind is None or kind in value_types(model).values()


def emulated(model: ModelProto) -> ModelProto:
    """Return the graph with float32 kernels and the artifact's own rounding.

    Inputs and outputs keep their types; only values inside change.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    types = value_types(copy)
    graph = copy.graph
    outside = {v.name: types[v.name] for v in (*graph.input, *graph.output)}
    outside = {name: kind for name, kind in outside.items() if kind in _LOW}
    inputs = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if tensor.data_type in _LOW:
            tensor.CopyFrom(_raised(tensor))
    nodes = [
        helper.make_node("Cast", [name], [_inner(name)], to=TensorProto.FLOAT)
        for name in outside
        if name in inputs
    ]
    for node in graph.node:
        for slot, name in enumerate(node.input):
            if name in outside:
                node.input[slot] = _inner(name)
        nodes += _rounded(node, types, outside)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return copy


def _inner(name: str) -> str:
    return f"{name}__raised"


def _rounded(
    node: NodeProto, types: dict[str, int], outside: dict[str, int]
) -> list[NodeProto]:
    """Return a node in float32, followed by the rounding of what it gives."""
    low = {name: types[name] for name in node.output if types.get(name) in _LOW}
    if not low:
        return [node]
    _raise_attributes(node)
    after = []
    for slot, name in enumerate(node.output):
        if name not in low:
            continue
        raw, narrow = f"{name}__raw", f"{name}__low"
        node.output[slot] = raw
        narrow = name if name in outside else narrow
        wide = _inner(name) if name in outside else name
        after += [
            helper.make_node("Cast", [raw], [narrow], to=low[name]),
            helper.make_node("Cast", [narrow], [wide], to=TensorProto.FLOAT),
        ]
    return [node, *after]


def _raise_attributes(node: NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i in _LOW:
            attribute.i = TensorProto.FLOAT
        elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type in _LOW:
            attribute.t.CopyFrom(_raised(attribute.t))


def _raised(tensor: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(tensor).astype(np.float32)
    return numpy_helper.from_array(values, tensor.name)
