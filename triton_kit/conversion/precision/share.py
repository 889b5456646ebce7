"""How much of a graph's work is done in the precision that it is named for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto

from triton_kit.conversion.onnx.onnx_file import all_nodes, value_types
from triton_kit.conversion.precision.emulate import INTEGER_OPS, lowest_precision
from triton_kit.conversion.precision.quantize import QUANTIZED_OPS
from triton_kit.options.conversion import QUANTIZED, Precision

_LOW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
RECURRENT_OPS = ("GRU", "LSTM", "RNN")
_INTEGER_OPS = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM")
HEAVY_OPS = (*QUANTIZED_OPS, *RECURRENT_OPS, *_INTEGER_OPS)
# What ONNX Runtime's quantizer adds to the names of nodes that it replaces.
_ADDED = ("_quant", "_MatMul")
_LITTLE_WORK = 0.004
LEAST = 0.5  # below this share of its work, a graph is not called by a precision


@dataclass(frozen=True, slots=True)
class Share:
    """Nodes that multiply most: how many are in a precision, of how many.

    `work` is the share of their multiplications at the first profile's opt, 0 to 1;
    None where the work of a node is not known.
    """

    nodes: int
    of: int
    work: float | None

    @property
    def is_enough(self) -> bool:
        """Whether a graph may be called by the precision: half of its work is in it."""
        share = self.nodes / max(1, self.of) if self.work is None else self.work
        return not self.of or share >= LEAST

    def notes(self, precision: str) -> tuple[str, ...]:
        """Say so where it is not all of them."""
        return (f"{self.text} are {precision}",) if self.nodes < self.of else ()

    @property
    def text(self) -> str:
        """The figures in words."""
        nodes = f"{self.nodes} of {self.of} Conv, Gemm, MatMul and recurrent nodes"
        if self.work is None:
            return nodes
        return f"{nodes}, with {self.work:.0%} of their multiplications,"


def precision_of(model: ModelProto, asked: Precision) -> Precision:
    """Return what a graph is called: fp32 was asked, but its source may be lower."""
    if asked != "fp32":
        return asked
    ops = {node.op_type for node in all_nodes(model.graph)}
    if any(op.endswith(INTEGER_OPS) for op in ops):
        return "int8"
    return lowest_precision(model)


def share_of(
    model: ModelProto, precision: str, works: Mapping[str, int | None]
) -> Share:
    """Return the share of a graph that is in a precision.

    `works` are the multiplications of each node in the graph that it was made from.
    """
    types = value_types(model)
    made = {name: node for node in model.graph.node for name in node.output}
    heavy = [node for node in model.graph.node if node.op_type in HEAVY_OPS]
    inside = [_is_in(node, precision, types, made) for node in heavy]
    known = [w for node in heavy if (w := _work_of(node.name, works)) is not None]
    if len(known) < len(heavy):
        return Share(sum(inside), len(heavy), None)
    low = sum(work for work, yes in zip(known, inside, strict=True) if yes)
    return Share(sum(inside), len(heavy), low / max(1, sum(known)))


def _work_of(name: str, works: Mapping[str, int | None]) -> int | None:
    for end in ("", *_ADDED):
        name = name.removesuffix(end)
        if name in works:
            return works[name]
    return None


def poor_nodes(model: ModelProto, works: Mapping[str, int | None]) -> dict[str, str]:
    """Return the nodes that lose more in int8 than they gain on a CPU, and why."""
    total = sum(work or 0 for work in works.values())
    found = {}
    for node in model.graph.node:
        work = works.get(node.name)
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type in HEAVY_OPS and groups > 1:
            found[node.name] = "its channels are apart: int8 loses much, gains little"
        elif work is not None and work < _LITTLE_WORK * total:
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
