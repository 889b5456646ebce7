"""How much of a graph's work is done in the precision that it is named for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from onnx import ModelProto, NodeProto, TensorProto

from triton_kit.conversion.onnx.onnx_file import all_nodes, value_shapes, value_types
from triton_kit.conversion.precision.emulate import INTEGER_OPS, lowest_precision
from triton_kit.conversion.precision.quantize import QUANTIZED_OPS
from triton_kit.options.conversion import QUANTIZED, Precision
from triton_kit.tensors import Shape

_LOW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_RECURRENT_OPS = ("GRU", "LSTM", "RNN")
_INTEGER_OPS = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM")
_HEAVY_OPS = (*QUANTIZED_OPS, *_RECURRENT_OPS, *_INTEGER_OPS)
_SAME_WEIGHT_OPS = ("Cast", "DequantizeLinear", "QuantizeLinear", "Transpose")
_LITTLE_WORK = 0.004
LEAST_WORK = 0.5  # below this share of its work, a graph is not called by a precision


@dataclass(frozen=True, slots=True)
class Share:
    """Nodes that multiply most: how many are in a precision, of how many.

    `work` is the share of their multiplications at the first profile's opt, 0 to 1.
    """

    nodes: int
    of: int
    work: float

    def notes(self, precision: str) -> tuple[str, ...]:
        """Say so where it is not all of them."""
        return (f"{self.text} are {precision}",) if self.nodes < self.of else ()

    @property
    def text(self) -> str:
        """The figures in words."""
        return (
            f"{self.nodes} of {self.of} Conv, Gemm, MatMul and recurrent nodes, with "
            f"{self.work:.0%} of their multiplications,"
        )


def precision_of(model: ModelProto, asked: Precision) -> Precision:
    """Return what a graph is called: fp32 was asked, but its source may be lower."""
    if asked != "fp32":
        return asked
    ops = {node.op_type for node in all_nodes(model.graph)}
    if any(op.endswith(INTEGER_OPS) for op in ops):
        return "int8"
    return lowest_precision(model)


def share_of(model: ModelProto, precision: str, shapes: Mapping[str, Shape]) -> Share:
    """Return the share of a graph that is in a precision, for inputs of shapes."""
    types = value_types(model)
    made = {name: node for node in model.graph.node for name in node.output}
    heavy = works_of(model, shapes)
    inside = [_is_in(node, precision, types, made) for node, _ in heavy]
    low = sum(work for (_, work), yes in zip(heavy, inside, strict=True) if yes)
    return Share(sum(inside), len(heavy), low / max(1, sum(work for _, work in heavy)))


def works_of(
    model: ModelProto, shapes: Mapping[str, Shape]
) -> list[tuple[NodeProto, int]]:
    """Return the nodes that multiply most, with the number of multiplications."""
    made = {name: node for node in model.graph.node for name in node.output}
    dims = {t.name: tuple(t.dims) for t in model.graph.initializer}
    known = value_shapes(model, shapes)
    return [
        (node, _work(node, _weight_shape(node, made, dims), known))
        for node in model.graph.node
        if node.op_type in _HEAVY_OPS
    ]


def poor_nodes(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Return the nodes that lose more in int8 than they gain on a CPU, and why."""
    works = works_of(model, shapes)
    total = sum(work for _, work in works)
    found = {}
    for node, work in works:
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if groups > 1:
            found[node.name] = "its channels are apart: int8 loses much, gains little"
        elif work < _LITTLE_WORK * total:
            found[node.name] = "it has little work"
    return found


def _is_in(
    node: NodeProto,
    precision: str,
    types: Mapping[str, int],
    made: Mapping[str, NodeProto],
) -> bool:
    if precision in QUANTIZED:
        before = (made.get(name) for name in node.input[:2])
        return node.op_type in _INTEGER_OPS or any(
            n and n.op_type.endswith("DequantizeLinear") for n in before
        )
    return all(types.get(name) == _LOW[precision] for name in node.output)


def _weight_shape(
    node: NodeProto, made: Mapping[str, NodeProto], dims: Mapping[str, Shape]
) -> Shape:
    """Return the shape of a node's weight, quantized or not; empty for none."""
    for name in (*node.input[1:2], *node.input[:1]):
        while name in made and made[name].op_type in _SAME_WEIGHT_OPS:
            name = made[name].input[0]
        if name in dims:
            return dims[name]
    return ()


def _work(node: NodeProto, weight: Shape, shapes: Mapping[str, Shape]) -> int:
    """Count the multiplications of a node; of unknown shapes, those of one position."""
    out = prod(shapes.get(node.output[0], (0,)))
    if node.op_type.endswith(_RECURRENT_OPS):  # once for inputs, once for the state
        steps = prod(shapes.get(node.input[0], (0,))) // weight[-1] if weight else 0
        return 2 * prod(weight) * max(1, steps)
    if len(weight) < 2:  # of two values, or a vector
        return out * shapes.get(node.input[0], (0,))[-1]
    if "Conv" in node.op_type:  # (out, in, ...); transposed, (in, out, ...)
        columns = weight["Transpose" in node.op_type]
    else:
        is_transposed = any(a.name == "transB" and a.i for a in node.attribute)
        columns = weight[-2] if is_transposed else weight[-1]
    return prod(weight) * max(1, out // columns)
