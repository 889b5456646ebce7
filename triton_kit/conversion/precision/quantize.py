"""Quantise to int8 or fp8: Q/DQ pairs around the operators that profit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from triton_kit.conversion.onnx.onnx_file import value_types
from triton_kit.conversion.onnx.weight_files import array_of

QUANTIZED_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# int8-dynamic: Gemm becomes MatMul; ConvInteger is slow.
DYNAMIC_OPS = ("MatMul", "LSTM")
# What stays int8 between convolutions: without these every one of them would go back
# to float32 and pay for it twice.
BETWEEN_CONVOLUTIONS = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Flatten",
    "GlobalAveragePool",
    "MaxPool",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_INT8_MOST = 127.0
_FP8_MOST = 448.0  # of E4M3
_FLOATS: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}
Limits = Mapping[str, tuple[float, float]]


@dataclass(slots=True)
class Quantized:
    """The graph with its Q/DQ pairs, and the nodes that stayed, with the reason."""

    model: ModelProto
    kept: dict[str, str] = field(default_factory=dict)


def quantize_symmetric(
    model: ModelProto, limits: Limits, *, to: str, skip: Mapping[str, str]
) -> Quantized:
    """Put Q/DQ pairs on both inputs of every Conv, Gemm and MatMul with a weight.

    Zero points are all zero and nothing else is touched, which is what TensorRT 10, 11
    and RTX take: activations have one scale, weights one per output channel and are
    stored quantised.

    Args:
        model: float32, or float16 with names as `lower_floats` gives them. Lower
            first: ONNX Runtime gives wrong numbers for graphs that were quantised
            before their scales became float16.
        limits: least and largest value of float32 values by name.
        to: `int8` or `fp8`.
        skip: nodes to leave alone, each with the reason.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    return _Quantizer(copy, limits, to, skip).done()


class _Quantizer:
    """One pass over a graph."""

    def __init__(
        self, model: ModelProto, limits: Limits, to: str, skip: Mapping[str, str]
    ) -> None:
        self._model = model
        self._limits = limits
        self._to = to
        self._types = value_types(model)
        self._weights = {t.name: t for t in model.graph.initializer}
        self._kept = {n: r for n, r in skip.items()}
        self._pairs: dict[tuple[str, int | None], str] = {}
        self._nodes: list[NodeProto] = []
        self._new: list[TensorProto] = []

    def done(self) -> Quantized:
        graph = self._model.graph
        for node in graph.node:
            if node.op_type in QUANTIZED_OPS and node.name not in self._kept:
                self._quantize(node)
            self._nodes.append(node)
        del graph.node[:]
        graph.node.extend(self._nodes)
        used = {name for node in graph.node for name in node.input}
        used |= {output.name for output in graph.output}
        kept = [t for t in (*graph.initializer, *self._new) if t.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]
        return Quantized(self._model, self._kept)

    def _quantize(self, node: NodeProto) -> None:
        if reason := self._obstacle(node):
            self._kept[node.name] = reason
            return
        for slot in (0, 1):
            name = node.input[slot]
            weight = self._weights.get(name)
            node.input[slot] = (
                self._activation(name)
                if weight is None
                else self._weight(weight, _channel_axis(node, weight))
            )

    def _obstacle(self, node: NodeProto) -> str | None:
        for name in node.input[:2]:
            if self._types.get(name) not in _FLOATS:
                return f"{name!r} is of no float type"
            if name not in self._weights and self._limit(name) is None:
                return f"{name!r} was not seen in calibration"
        if sum(name in self._weights for name in node.input[:2]) != 1:
            return "it does not multiply a value by a weight"
        return None

    def _limit(self, name: str) -> float | None:
        """Return the largest value to keep; lowered values go by their float32 name."""
        for known in (name, name.removesuffix("_fp16"), name.removesuffix("_bf16")):
            if known in self._limits:
                return max(abs(end) for end in self._limits[known])
        return None

    def _activation(self, name: str) -> str:
        if (name, None) not in self._pairs:
            largest = np.array(self._limit(name) or 0.0)
            scale = self._stored_scales(largest, _FLOATS[self._types[name]])
            self._new.append(numpy_helper.from_array(scale, f"{name}_scale"))
            zero = self._zero(np.zeros((), np.float32))
            self._pairs[name, None] = self._pair(name, f"{name}_scale", zero)
        return self._pairs[name, None]

    def _pair(self, name: str, scale: str, zero: str) -> str:
        quantized, back = f"{name}_{self._to}", f"{name}_{self._to}_back"
        ends = {
            "QuantizeLinear": (name, quantized),
            "DequantizeLinear": (quantized, back),
        }
        for op, (source, made) in ends.items():
            node = helper.make_node(
                op, [source, scale, zero], [made], name=f"{op}_{name}"
            )
            self._nodes.append(node)
        return back

    def _weight(self, weight: TensorProto, axis: int) -> str:
        if (weight.name, axis) not in self._pairs:
            values = array_of(weight).astype(np.float64)
            others = tuple(i for i in range(values.ndim) if i != axis)
            stem = f"{weight.name}_axis{axis}"
            kind = _FLOATS[weight.data_type]
            scales = self._stored_scales(np.abs(values).max(axis=others), kind)
            shape = [-1 if i == axis else 1 for i in range(values.ndim)]
            steps = values / scales.astype(np.float64).reshape(shape)
            stored, back = f"{stem}_{self._to}", f"{stem}_{self._to}_back"
            self._new.append(numpy_helper.from_array(scales, f"{stem}_scale"))
            self._new.append(numpy_helper.from_array(self._round(steps), stored))
            zero = self._zero(np.zeros(len(scales), np.float32), stem)
            node = helper.make_node(
                "DequantizeLinear",
                [stored, f"{stem}_scale", zero],
                [back],
                name=f"DequantizeLinear_{stem}",
                axis=axis,
            )
            self._nodes.append(node)
            self._pairs[weight.name, axis] = back
        return self._pairs[weight.name, axis]

    def _stored_scales(
        self, largest: NDArray[np.float64], kind: np.dtype[np.generic]
    ) -> NDArray[np.generic]:
        """Return scales as the graph stores them: never zero, never clipping."""
        most = _INT8_MOST if self._to == "int8" else _FP8_MOST
        scales = np.asarray(np.where(largest > 0, largest / most, 1.0)).astype(kind)
        if kind in (np.dtype(np.float16), np.dtype(np.float32)):
            is_short = scales.astype(np.float64) * most < largest
            scales = np.where(is_short, np.nextafter(scales, kind.type(np.inf)), scales)
        return np.asarray(scales)

    def _round(self, steps: NDArray[np.floating[Any]]) -> NDArray[np.generic]:
        most = _INT8_MOST if self._to == "int8" else _FP8_MOST
        clipped = np.clip(steps, -most, most)
        if self._to == "int8":
            return np.rint(clipped).astype(np.int8)
        rounded: NDArray[np.generic] = clipped.astype(ml_dtypes.float8_e4m3fn)
        return rounded

    def _zero(self, zeros: NDArray[np.float32], name: str = "") -> str:
        stem = f"{name or 'activation'}_{self._to}_zero"
        if all(tensor.name != stem for tensor in self._new):
            self._new.append(numpy_helper.from_array(self._round(zeros), stem))
        return stem


def _channel_axis(node: NodeProto, weight: TensorProto) -> int:
    """Return the axis of a weight that is the operator's output channel."""
    rank = len(weight.dims)
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        is_transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if is_transposed else 1
    return rank - 1
