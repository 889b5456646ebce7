"""How much of a graph's work is done in the precision that it is named for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from onnx import ModelProto, NodeProto, TensorProto

from triton_kit.conversion.onnx.onnx_file import all_nodes, value_types
from triton_kit.conversion.precision.emulate import lowest_precision
from triton_kit.conversion.precision.quantize import QUANTIZED_OPS
from triton_kit.options.conversion import QUANTIZED, Precision

_LOW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@dataclass(frozen=True, slots=True)
class Share:
    """Nodes that multiply by weights: how many are in a precision, of how many.

    `weights` is the share of their weights, 0 to 1.
    """

    nodes: int
    of: int
    weights: float

    def notes(self, precision: str) -> tuple[str, ...]:
        """Say so where it is not all of them."""
        if self.nodes == self.of:
            return ()
        return (
            f"{self.nodes} of {self.of} Conv, Gemm and MatMul nodes are {precision}, "
            f"with {self.weights:.0%} of their weights",
        )


def precision_of(model: ModelProto, asked: Precision) -> Precision:
    """Return what a graph is called: fp32 was asked, but its source may be lower."""
    if asked != "fp32":
        return asked
    ops = {node.op_type for node in all_nodes(model.graph)}
    if any(op.endswith(("DequantizeLinear", "Integer")) for op in ops):
        return "int8"
    return lowest_precision(model)


def share_of(model: ModelProto, precision: str) -> Share:
    """Return the share of a graph that is in a precision."""
    types = value_types(model)
    heavy = [n for n in model.graph.node if n.op_type.endswith(QUANTIZED_OPS)]
    made = {name: node for node in model.graph.node for name in node.output}
    sizes = {t.name: prod(t.dims) for t in model.graph.initializer}
    counts = [_weights(node, made, sizes) for node in heavy]
    inside = [_is_in(node, precision, types, made) for node in heavy]
    low = sum(count for count, yes in zip(counts, inside, strict=True) if yes)
    return Share(sum(inside), len(heavy), low / max(1, sum(counts)))


def _is_in(
    node: NodeProto,
    precision: str,
    types: Mapping[str, int],
    made: Mapping[str, NodeProto],
) -> bool:
    if precision in QUANTIZED:
        before = (made.get(name) for name in node.input[:2])
        return any(n and n.op_type.endswith("DequantizeLinear") for n in before)
    return all(types.get(name) == _LOW[precision] for name in node.output)


def _weights(
    node: NodeProto, made: Mapping[str, NodeProto], sizes: Mapping[str, int]
) -> int:
    """Count the weights of a node, quantized or not."""
    count = 0
    for name in node.input[:2]:
        if name not in sizes and name in made and made[name].input:
            name = made[name].input[0]
        count += sizes.get(name, 0)
    return count
