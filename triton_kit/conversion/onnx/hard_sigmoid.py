"""A graph pass: `Clip(x + 3, 0, 6) / 6` becomes one HardSigmoid.

Exporters write the activations of MobileNet-like networks that way, where their opset
has no HardSwish: `x * Clip(x + 3, 0, 6) / 6` reads and writes the value four times.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, helper

from triton_kit.conversion.onnx.onnx_file import name_nodes, opset_of
from triton_kit.conversion.onnx.uses import Uses, rebuild
from triton_kit.conversion.onnx.weight_files import array_of

_OPSET = 6  # the first with today's HardSigmoid
_ROUNDING = 1e-6  # a sixth is not exact in float32


def fuse_hard_sigmoids(model: ModelProto) -> int:
    """Fuse them in the top graph, in place; return how many.

    Values in between have one reader each and are no outputs.
    """
    if opset_of(model) < _OPSET:
        return 0
    name_nodes(model)
    uses = Uses(model.graph)
    replaced: dict[str, list[NodeProto]] = {}
    count = 0
    for node in model.graph.node:
        if node.op_type == "Clip" and (made := _fused(node, uses)):
            replaced |= made
            count += 1
    if count:
        rebuild(model.graph, replaced)
    return count


def _fused(clip: NodeProto, uses: Uses) -> dict[str, list[NodeProto]] | None:
    """Return what is in the place of which node; None if they are no such pattern."""
    add = uses.maker(clip.input[0], "Add")
    most = _upper_bound(clip, uses)
    if add is None or most is None or uses.only_reader(clip.input[0]) is None:
        return None
    shift, source = _scalar_and_value(add, uses)
    follower = uses.only_reader(clip.output[0])
    if shift is None or follower is None:
        return None
    made = helper.make_node(
        "HardSigmoid",
        [source],
        [clip.output[0]],
        name=clip.name,
        alpha=1 / most,
        beta=shift / most,
    )
    if _divides(follower, uses, most):
        made.output[0] = follower.output[0]
        return {add.name: [], clip.name: [made], follower.name: []}
    divider = uses.only_reader(follower.output[0])
    if follower.op_type != "Mul" or divider is None:
        return None
    if any(name in uses.weights for name in follower.input):
        return None
    if not _divides(divider, uses, most):
        return None
    product = helper.make_node(
        "Mul", list(follower.input), [divider.output[0]], name=follower.name
    )
    return {
        add.name: [],
        clip.name: [made],
        follower.name: [product],
        divider.name: [],
    }


def _upper_bound(clip: NodeProto, uses: Uses) -> float | None:
    """Return the upper bound of a Clip from 0; None if it has others."""
    bounds = {a.name: a.f for a in clip.attribute}
    for name, value in zip(("min", "max"), clip.input[1:], strict=False):
        if value not in uses.weights:
            return None
        bounds[name] = float(array_of(uses.weights[value]).reshape(-1)[0])
    least, most = bounds.get("min"), bounds.get("max")
    return most if least == 0 and most is not None and 0 < most < float("inf") else None


def _scalar_and_value(node: NodeProto, uses: Uses) -> tuple[float | None, str]:
    """Return the scalar that a node of two inputs reads, and its other input."""
    first, second = node.input
    for constant, other in ((first, second), (second, first)):
        tensor = uses.weights.get(constant)
        if tensor is None or other in uses.weights or node.attribute:
            continue
        # With an axis, it could be the one that gives the value its rank.
        if not tensor.dims or list(tensor.dims) == [1]:
            return float(array_of(tensor).reshape(-1)[0]), other
    return None, ""


def _divides(node: NodeProto, uses: Uses, divisor: float) -> bool:
    """Say whether a node divides a value by a number, or multiplies by its inverse."""
    if node.op_type not in ("Div", "Mul"):
        return False
    number, value = _scalar_and_value(node, uses)
    if number is None or (node.op_type == "Div" and node.input[0] != value):
        return False
    factor = 1 / number if node.op_type == "Div" and number else number
    return abs(factor * divisor - 1) < _ROUNDING
