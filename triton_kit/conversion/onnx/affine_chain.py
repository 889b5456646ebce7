"""Nodes that multiply or add constants, read as `scale * value + shift`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from triton_kit.conversion.onnx.weight_files import array_of

Array = NDArray[np.floating[Any]]
Weights = Mapping[str, TensorProto]
Dims = tuple[int | None, ...]
_ELEMENTWISE = ("Add", "Div", "Mul", "Sub")
_BATCH_NORM = "BatchNormalization"
_BATCH_NORM_EPSILON = 1e-5  # the operator's default


@dataclass(frozen=True, slots=True)
class Affine:
    """`scale * value + shift`, float64: both of shape () or (channels).

    `axis` is that of the channels, counted from the end; None where both are scalars.
    """

    scale: Array
    shift: Array
    axis: int | None = None

    @property
    def is_finite(self) -> bool:
        """Whether every number in it is finite."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())

    @property
    def has_shift(self) -> bool:
        """Whether it adds anything."""
        return bool(np.any(self.shift != 0))

    @property
    def has_scale(self) -> bool:
        """Whether it multiplies by anything but 1."""
        return bool(np.any(self.scale != 1))

    @property
    def uniform_scale(self) -> float | None:
        """The scale where all channels have the same, and it is not 0."""
        first = float(np.ravel(self.scale)[0])
        return first if first and bool(np.all(self.scale == first)) else None

    def then(self, other: Affine) -> Affine | None:
        """Return both in one; None if their channels are along different axes."""
        axis = self.axis if self.axis is not None else other.axis
        if other.axis not in (None, axis):
            return None
        scale = self.scale * other.scale
        return Affine(scale, self.shift * other.scale + other.shift, axis)


@dataclass(frozen=True, slots=True)
class AffineNode:
    """An affine node, the value that it reads and what it computes."""

    node: NodeProto
    source: str
    affine: Affine


def affine_node(
    node: NodeProto, weights: Weights, shapes: Mapping[str, Dims]
) -> AffineNode | None:
    """Read a node as an affine one; None if it is anything else.

    Args:
        node: any node.
        weights: the graph's constants of a float type, by name.
        shapes: dimensions of values by name, None where one is not known.
    """
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == _BATCH_NORM:
        return _batch_norm(node, weights, shapes)
    # Before opset 7 attributes say how shapes meet.
    if node.op_type not in _ELEMENTWISE or node.attribute:
        return None
    is_constant = [name in weights for name in node.input]
    if sum(is_constant) != 1:
        return None
    source = node.input[is_constant.index(False)]
    constant = weights[node.input[is_constant.index(True)]]
    read = _vector(constant, shapes.get(source))
    if read is None:
        return None
    values, axis = read
    affine = _elementwise(node.op_type, values, axis, is_constant[0])
    return AffineNode(node, source, affine) if affine and affine.is_finite else None


def _elementwise(
    op_type: str, values: Array, axis: int | None, is_first: bool
) -> Affine | None:
    one, zero = np.ones_like(values), np.zeros_like(values)
    if op_type == "Add":
        return Affine(one, values, axis)
    if op_type == "Mul":
        return Affine(values, zero, axis)
    if op_type == "Sub":
        return Affine(-one, values, axis) if is_first else Affine(one, -values, axis)
    if is_first or not values.all():  # a constant divided by the value
        return None
    return Affine(1 / values, zero, axis)


def _vector(
    constant: TensorProto, dims: Dims | None
) -> tuple[Array, int | None] | None:
    """Return a constant as a scalar, or as one number a channel with its axis.

    None where it would change the value's shape, or varies along several axes.
    """
    if dims is None or len(constant.dims) > len(dims) or 0 in constant.dims:
        return None
    wide = [i for i, size in enumerate(constant.dims) if size > 1]
    axis = wide[0] - len(constant.dims) if wide else None
    if axis is not None and (len(wide) > 1 or dims[axis] != constant.dims[axis]):
        return None
    values = array_of(constant).astype(np.float64)
    return values.reshape(() if axis is None else -1), axis


def _batch_norm(
    node: NodeProto, weights: Weights, shapes: Mapping[str, Dims]
) -> AffineNode | None:
    source, *names = node.input
    dims = shapes.get(source)
    is_training = any(a.name == "training_mode" and a.i for a in node.attribute)
    if is_training or len(node.output) != 1 or dims is None or len(dims) < 2:
        return None
    if len(names) != 4 or not all(name in weights for name in names):
        return None
    gamma, beta, mean, variance = (
        array_of(weights[name]).astype(np.float64).reshape(-1) for name in names
    )
    if any(a.name == "spatial" and not a.i for a in node.attribute):
        return None
    epsilon = next(
        (a.f for a in node.attribute if a.name == "epsilon"), _BATCH_NORM_EPSILON
    )
    if dims[1] != len(gamma) or np.any(variance + epsilon <= 0):
        return None
    scale = gamma / np.sqrt(variance + epsilon)
    affine = Affine(scale, beta - mean * scale, 1 - len(dims))
    return AffineNode(node, source, affine) if affine.is_finite else None
