"""Make a float32 graph that rounds like a float16 or bfloat16 one.

ONNX Runtime's CPU kernels compute float16 in float32 and leave out the rounding in
between (1.31: `x * 300 * 300 / 90000` in float16 gives `x`, where a GPU gives inf),
and have no bfloat16 kernels at all. So an artifact is also run as this: its own
weights, float32 kernels, and every value rounded where the artifact stores it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from triton_kit.conversion.onnx.onnx_file import (
    all_graphs,
    all_nodes,
    all_value_types,
    bodies,
)
from triton_kit.conversion.onnx.weight_files import array_of, tensor_like
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
    return any(kind in _LOW for kind in all_value_types(model).values())


def lowest_precision(model: ModelProto) -> Literal["bf16", "fp16", "fp32"]:
    """Return `bf16`, `fp16` or `fp32`, whichever is the least precise in a graph."""
    kinds = set(all_value_types(model).values())
    if TensorProto.BFLOAT16 in kinds:
        return "bf16"
    return "fp16" if TensorProto.FLOAT16 in kinds else "fp32"


def holds(model: ModelProto, precision: str) -> bool:
    """Say whether anything in a graph is in a precision; fp32 asks for nothing."""
    if precision in QUANTIZED:
        ops = {node.op_type for node in all_nodes(model.graph)}
        return any(op.endswith(INTEGER_OPS) for op in ops)
    kind = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}.get(precision)
    return kind is None or kind in all_value_types(model).values()


def raised(model: ModelProto) -> ModelProto:
    """Return a bfloat16 graph in float32, inputs and outputs included: no rounding."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for graph in all_graphs(copy.graph):
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.BFLOAT16:
                tensor.CopyFrom(_raised(tensor))
        for value in (*graph.input, *graph.output):
            _raise_border(value)
        for node in graph.node:
            _raise_attributes(node, (TensorProto.BFLOAT16,))
        del graph.value_info[:]
    return copy


def emulated(model: ModelProto) -> ModelProto:
    """Return the graph with float32 kernels and the artifact's own rounding.

    Inputs and outputs keep their types, but for bfloat16: these are float32 that is
    rounded.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    types, graph = all_value_types(copy), copy.graph
    outside = {v.name: types[v.name] for v in (*graph.input, *graph.output)}
    outside = {name: kind for name, kind in outside.items() if kind in _LOW}
    casts: list[NodeProto] = []
    for value in graph.input:
        if kind := outside.get(value.name):
            casts += _round_input(value.name, kind)
    for value in graph.output:
        if outside.get(value.name) == TensorProto.BFLOAT16:
            del outside[value.name]  # it is float32 inside and outside
    for value in (*graph.input, *graph.output):
        _raise_border(value)
    _round_graph(graph, types, outside)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def _raise_border(value: ValueInfoProto, kinds: Sequence[int] = _LOW[1:]) -> None:
    if value.type.tensor_type.elem_type in kinds:
        value.type.tensor_type.elem_type = TensorProto.FLOAT


def _inner(name: str) -> str:
    return f"{name}__raised"


def _round_input(name: str, kind: int) -> list[NodeProto]:
    """Return what makes the inner, float32 form of an input that is rounded."""
    low = f"{name}__in"
    return [
        helper.make_node("Cast", [name], [low], to=kind),
        helper.make_node("Cast", [low], [_inner(name)], to=TensorProto.FLOAT),
    ]


def _round_graph(
    graph: GraphProto, types: Mapping[str, int], outside: Mapping[str, int]
) -> None:
    """Give a graph, and the bodies in it, float32 kernels and rounding, in place."""
    for tensor in graph.initializer:
        if tensor.data_type in _LOW:
            tensor.CopyFrom(_raised(tensor))
    nodes = []
    for node in graph.node:
        for slot, name in enumerate(node.input):
            if name in outside:
                node.input[slot] = _inner(name)
        for body in bodies(node):
            for value in (*body.input, *body.output):
                _raise_border(value, _LOW)
            _round_graph(body, types, outside)
        nodes += _rounded(node, types, outside)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]


def _rounded(
    node: NodeProto, types: Mapping[str, int], outside: Mapping[str, int]
) -> list[NodeProto]:
    """Return a node in float32, followed by the rounding of what it gives."""
    low = {name: types[name] for name in node.output if types.get(name) in _LOW}
    if not low:
        return [node]
    _raise_attributes(node, _LOW)
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


def _raise_attributes(node: NodeProto, kinds: Sequence[int]) -> None:
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i in kinds:
            attribute.i = TensorProto.FLOAT
        elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type in kinds:
            attribute.t.CopyFrom(_raised(attribute.t))


def _raised(tensor: TensorProto) -> TensorProto:
    values = array_of(tensor).astype(np.float32)
    return tensor_like(tensor, values, tensor.name)
