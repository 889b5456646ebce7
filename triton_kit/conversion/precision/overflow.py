"""Find the nodes that float16 would break: values too large, or rounded away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from triton_kit.conversion.precision.ranges import ValueRange

LARGEST = 65504.0
HEADROOM = 2.0  # samples never show the largest value of all
SMALLEST_NORMAL = 2.0**-14
# float16 rounds a weight by 2^-11 at most; a tensor that loses more than this, all in
# all, is one of subnormals.
MAX_LOSS = 2.0**-10
MAX_LOSS_OF_ONE = 2.0**-6  # a lone value is an epsilon or a factor, not a sum's part


def fp16_obstacles(
    model: ModelProto, ranges: Mapping[str, ValueRange]
) -> dict[str, str]:
    """Return the nodes that must stay float32, each with the value that says so.

    Both the node that makes a value and those that read it are named: in float16 the
    value itself is what breaks.
    """
    bad = _bad_weights(model) | _bad_activations(ranges)
    found: dict[str, str] = {}
    for node in model.graph.node:
        for name in (*node.output, *node.input):
            if name in bad:
                found.setdefault(node.name, bad[name])
    return found


def _bad_activations(ranges: Mapping[str, ValueRange]) -> dict[str, str]:
    bad = {}
    for name, found in ranges.items():
        if found.largest * HEADROOM > LARGEST:
            bad[name] = (
                f"{name!r} reaches {found.largest:.3g}, fp16 ends at {LARGEST:g}"
            )
        elif 0 < found.largest < SMALLEST_NORMAL:
            bad[name] = f"{name!r} stays below {found.largest:.3g}, too small for fp16"
    return bad


def _bad_weights(model: ModelProto) -> dict[str, str]:
    return {
        name: reason
        for name, tensor in _constants(model)
        if tensor.data_type == TensorProto.FLOAT
        and (reason := _weight_reason(name, numpy_helper.to_array(tensor)))
    }


def _constants(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield initialisers and the values of Constant nodes, by name."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield node.output[0], attribute.t


def _weight_reason(name: str, values: NDArray[np.float32]) -> str | None:
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return None
    largest = float(np.abs(finite).max())
    if largest > LARGEST:
        return f"weight {name!r} holds {largest:.3g}, fp16 ends at {LARGEST:g}"
    rounded = finite.astype(np.float16).astype(np.float64)
    norm = float(np.linalg.norm(finite))
    loss = float(np.linalg.norm(rounded - finite))
    if loss > norm * (MAX_LOSS if finite.size > 1 else MAX_LOSS_OF_ONE):
        return f"weight {name!r} is too small for fp16 (largest {largest:.3g})"
    return None
