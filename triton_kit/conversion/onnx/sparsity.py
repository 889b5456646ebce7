"""2:4 sparsity: of every four weights along the inputs, two are zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from triton_kit.conversion.onnx.weight_files import array_of, tensor_like

GROUP, KEPT = 4, 2


@dataclass(frozen=True, slots=True)
class SparsityReport:
    """What pruning did.

    `pruned` are weights by name with the share of their power that is left, 0..1.
    `skipped` are those whose inputs do not come in fours, with their shape.
    """

    pruned: dict[str, float]
    skipped: dict[str, tuple[int, ...]]


def prune_2_4(model: ModelProto) -> SparsityReport:
    """Zero the two smallest of every four weights, in place.

    Along the axis that a product sums over, as TensorRT's sparse kernels require:
    the input channels of a Conv, the rows of a MatMul's or Gemm's right-hand side.
    Nothing is trained afterwards: the accuracy gate decides whether the model bears it.
    """
    axes = _input_axes(model)
    report = SparsityReport({}, {})
    for tensor in model.graph.initializer:
        axis = axes.get(tensor.name)
        if axis is None or tensor.data_type != TensorProto.FLOAT:
            continue
        values = array_of(tensor)
        if values.shape[axis] % GROUP:
            report.skipped[tensor.name] = values.shape
            continue
        pruned = _pruned(values, axis)
        power = float(np.square(values, dtype=np.float64).sum())
        left = float(np.square(pruned, dtype=np.float64).sum())
        report.pruned[tensor.name] = left / power if power else 1.0
        tensor.CopyFrom(tensor_like(tensor, pruned, tensor.name))
    return report


def _pruned(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    moved = np.moveaxis(values, axis, -1)
    groups = moved.reshape(-1, GROUP).copy()
    smallest = np.argsort(np.abs(groups), axis=1, kind="stable")[:, : GROUP - KEPT]
    np.put_along_axis(groups, smallest, 0.0, axis=1)
    return np.ascontiguousarray(np.moveaxis(groups.reshape(moved.shape), -1, axis))


def _input_axes(model: ModelProto) -> dict[str, int]:
    """Return, by weight, the axis that its products sum over."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and len(node.input) > 1:
            name = node.input[1]
            if name in ranks:
                found[name] = _input_axis(node, ranks[name])
    return found


def _input_axis(node: NodeProto, rank: int) -> int:
    if node.op_type == "Conv":
        return 1
    if node.op_type == "Gemm":
        return 1 if any(a.name == "transB" and a.i for a in node.attribute) else 0
    return max(rank - 2, 0)
