"""Scales and shifts become part of the weights and bias of a product beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto

from triton_kit.conversion.onnx.affine_chain import Affine, Array, Weights
from triton_kit.conversion.onnx.weight_files import array_of

_CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCTS = (*_CONVOLUTIONS, "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Folded:
    """New weights of a product; None where it keeps its own, or has no bias.

    `left` is what the product cannot take: it still has to be added.
    """

    weight: Array | None
    bias: Array | None = None
    left: Affine | None = None


@dataclass(frozen=True, slots=True)
class _Product:
    """A product by a constant weight, with its bias: None where it has none."""

    node: NodeProto
    weight: Array
    bias: Array | None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes that are numbers or lists of them."""
        return {a.name: a.i or list(a.ints) for a in self.node.attribute}

    @property
    def groups(self) -> int:
        """The groups of a convolution's channels."""
        return int(self.attributes.get("group", 1))

    @property
    def outputs(self) -> int:
        """The number of output channels."""
        shape = self.weight.shape
        if self.node.op_type == "Conv":
            return int(shape[0])
        if self.node.op_type == "ConvTranspose":
            return int(shape[1]) * self.groups
        return int(shape[0] if self._is_transposed else shape[-1])

    @property
    def axis(self) -> int:
        """The axis of the channels of both sides, counted from the end."""
        is_convolution = self.node.op_type in _CONVOLUTIONS
        return 1 - self.weight.ndim if is_convolution else -1

    @property
    def _is_transposed(self) -> bool:
        return self.node.op_type == "Gemm" and bool(self.attributes.get("transB"))

    def scaled_outputs(self, scale: Array) -> Array:
        """Return the weight with one factor for each output channel."""
        if scale.ndim == 0:
            return self.weight * scale
        if self.node.op_type == "ConvTranspose":
            by_group = self._by_group(self.weight)
            factors = scale.reshape(self.groups, 1, -1, *self._ones)
            return (by_group * factors).reshape(self.weight.shape)
        is_first = self.node.op_type == "Conv" or self._is_transposed
        shape = (-1, *(1,) * (self.weight.ndim - 1)) if is_first else (-1,)
        return self.weight * scale.reshape(shape)

    def scaled_inputs(self, factors: Array) -> Array:
        """Return the weight with one factor for each input channel."""
        if factors.ndim == 0:
            return self.weight * factors
        if self.node.op_type == "Conv":
            by_group = self._by_group(self.weight)
            factors = factors.reshape(self.groups, 1, -1, *self._ones)
            return (by_group * factors).reshape(self.weight.shape)
        if self.node.op_type == "ConvTranspose":
            return self.weight * factors.reshape(-1, 1, *self._ones)
        return self.weight * factors.reshape((-1,) if self._is_transposed else (-1, 1))

    def summed_inputs(self, shift: Array) -> Array:
        """Return what a constant at each input channel adds to each output channel."""
        # Sums, not products of matrices: those start the threads of a library.
        terms = self.scaled_inputs(shift)
        if self.node.op_type == "Conv":
            return np.asarray(terms.sum(axis=tuple(range(1, terms.ndim))))
        return np.asarray(terms.sum(axis=1 if self._is_transposed else 0))

    def with_bias(self, added: Array) -> Array:
        """Return the bias, as one number a channel, with numbers added."""
        bias = np.zeros(()) if self.bias is None else self.bias
        return np.asarray(np.broadcast_to(bias + added, (self.outputs,)))

    @property
    def _ones(self) -> tuple[int, ...]:
        return (1,) * (self.weight.ndim - 2)

    def _by_group(self, values: Array) -> Array:
        return values.reshape(self.groups, -1, *values.shape[1:])

    @property
    def is_padded(self) -> bool:
        """Whether zeros are put around the input, or its border counts for less."""
        found = self.attributes
        auto = next(
            (a.s.decode() for a in self.node.attribute if a.name == "auto_pad"),
            "NOTSET",
        )
        is_free = auto == "VALID" or (
            auto == "NOTSET" and not any(found.get("pads", ()))
        )
        return self.node.op_type == "ConvTranspose" or (
            self.node.op_type == "Conv" and not is_free
        )

    @property
    def has_no_bias_input(self) -> bool:
        """Whether nothing can be added within it."""
        return self.node.op_type == "MatMul"


def fold_after(node: NodeProto, weights: Weights, affine: Affine) -> Folded | None:
    """Fold what comes after a product into it; None where that is not exact."""
    product = _product(node, weights)
    if product is None or affine.axis not in (None, product.axis):
        return None
    weight = product.scaled_outputs(affine.scale) if affine.has_scale else None
    if product.has_no_bias_input:
        left = Affine(np.ones(()), affine.shift, affine.axis)
        return _folded(weight, None, left if affine.has_shift else None)
    if product.bias is None and not affine.has_shift:
        return _folded(weight, None)
    old = product.with_bias(np.zeros(()))
    bias = np.broadcast_to(old * affine.scale + affine.shift, (product.outputs,))
    return _folded(weight, bias)


def fold_before(node: NodeProto, weights: Weights, affine: Affine) -> Folded | None:
    """Fold what comes before a product, on its first input, into it.

    Where a shift cannot pass the padding, a uniform scale still can: what is left is
    added to the unscaled value.
    """
    product = _product(node, weights)
    if product is None or affine.axis not in (None, product.axis):
        return None
    is_stack = node.op_type == "MatMul" and product.weight.ndim > 2
    if is_stack or product.attributes.get("transA"):
        return None
    weight = product.scaled_inputs(affine.scale) if affine.has_scale else None
    if not affine.has_shift:
        return _folded(weight, None)
    if product.is_padded or product.has_no_bias_input:
        if affine.uniform_scale is None:
            return None
        left = Affine(np.ones(()), affine.shift / affine.uniform_scale, affine.axis)
        return _folded(weight, None, left) if left.is_finite else None
    added = product.summed_inputs(affine.shift)
    return _folded(weight, product.with_bias(added))


def _product(node: NodeProto, weights: Weights) -> _Product | None:
    """Read a product by a constant weight; None if it is anything else."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in PRODUCTS:
        return None
    names = [*node.input, "", ""][:3]
    if names[0] in weights or names[1] not in weights:
        return None
    factors = [a.f for a in node.attribute if a.name in ("alpha", "beta")]
    if any(factor != 1 for factor in factors):
        return None
    weight = array_of(weights[names[1]]).astype(np.float64)
    if weight.ndim < 2 or not weight.size:
        return None
    product = _Product(node, weight, None)
    if not names[2]:
        return product
    if names[2] not in weights:
        return None
    bias = array_of(weights[names[2]]).astype(np.float64)
    # A Gemm's may be a matrix, with another number for each row.
    if bias.size not in (1, product.outputs) or bias.size != max((1, *bias.shape[-1:])):
        return None
    return _Product(node, weight, bias.reshape(-1))


def _folded(
    weight: Array | None, bias: Array | None, left: Affine | None = None
) -> Folded | None:
    """Return the result, unless it left the finite numbers."""
    arrays = [values for values in (weight, bias) if values is not None]
    return Folded(weight, bias, left) if all(map(_is_finite, arrays)) else None


def _is_finite(values: Array) -> bool:
    return bool(np.isfinite(values).all())
