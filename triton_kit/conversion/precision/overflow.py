"""Find the nodes that float16 would break: values too large, or rounded away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto

from triton_kit.conversion.onnx.onnx_file import all_graphs, all_nodes, bodies
from triton_kit.conversion.onnx.weight_files import array_of
from triton_kit.conversion.precision.ranges import ValueRange
from triton_kit.tensors import Shape

LARGEST = 65504.0
HEADROOM = 2.0  # samples never show the largest value of all
SMALLEST_NORMAL = 2.0**-14
# float16 rounds a weight by 2^-11 at most; a tensor that loses more than this, all in
# all, is one of subnormals.
MAX_LOSS = 2.0**-10
MEANS = ("ReduceMean", "GlobalAveragePool")
_SINGULAR = ("Log", "Div", "Reciprocal", "Sqrt")
MAX_LOSS_OF_ONE = 2.0**-6  # a lone value is an epsilon or a factor, not a sum's part


def fp16_obstacles(
    model: ModelProto, ranges: Mapping[str, ValueRange], shapes: Mapping[str, Shape]
) -> dict[str, str]:
    """Return the nodes that must stay float32, each with the value that says so.

    Both the node that makes a value and those that read it are named: in float16 the
    value itself is what breaks. `shapes` are those of all values, as far as known.
    """
    bad = _bad_weights(model, _weight_reason) | _bad_activations(ranges)
    found = _named(model, bad)
    found = _long_sums(model, ranges, shapes) | found
    return _behind_epsilons(model) | found


def bf16_obstacles(model: ModelProto) -> dict[str, str]:
    """Return the nodes whose weights end beyond bfloat16, such as masks of finfo.min.

    float32 goes on a little after the largest bfloat16: rounded, it is infinite.
    """
    return _named(model, _bad_weights(model, _beyond_bf16))


def _beyond_bf16(name: str, values: NDArray[np.float32]) -> str | None:
    with np.errstate(over="ignore"):
        rounded = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    if (np.isfinite(values) & ~np.isfinite(rounded)).any():
        return f"weight {name!r} holds {np.abs(values).max():.3g}, beyond bf16"
    return None


def _long_sums(
    model: ModelProto, ranges: Mapping[str, ValueRange], shapes: Mapping[str, Shape]
) -> dict[str, str]:
    """Return the means whose sum, inside of the node, float16 does not hold."""
    found = {}
    for node in model.graph.node:
        if node.op_type not in MEANS or node.output[0] not in ranges:
            continue
        before = prod(shapes.get(node.input[0], ()))
        count = before / max(1, prod(shapes.get(node.output[0], (before,))))
        total = ranges[node.output[0]].largest * count
        if total * HEADROOM > LARGEST:
            found[node.name] = f"its sum reaches {total:.3g}, {_limit(total)}"
    return found


def _behind_epsilons(model: ModelProto) -> dict[str, str]:
    """Return the nodes that divide by, or take the logarithm of, a value + epsilon.

    The sum stays float32 for the epsilon's sake; rounded on the way here it would be 0.
    """
    tiny = {
        name
        for name, tensor in _constants(model)
        if tensor.data_type == TensorProto.FLOAT
        and (values := array_of(tensor)).size == 1
        and 0 < abs(float(values.ravel()[0])) < SMALLEST_NORMAL
        and _weight_reason(name, values)
    }
    guarded: set[str] = set()
    found = {}
    for node in model.graph.node:
        if node.op_type in ("Add", "Max", "Clip") and tiny & set(node.input):
            guarded.update(node.output)
        elif node.op_type in _SINGULAR and guarded & set(node.input):
            found[node.name] = "an epsilon before it is too small for fp16"
            if node.op_type == "Sqrt":
                guarded.update(node.output)
    return found


def _named(model: ModelProto, bad: Mapping[str, str]) -> dict[str, str]:
    return dict(_named_in(model.graph, bad, ""))


def _named_in(
    graph: GraphProto, bad: Mapping[str, str], prefix: str
) -> Iterator[tuple[str, str]]:
    """Yield nodes with the reason; those of bodies as `OUTER/NODE`."""
    for node in graph.node:
        for name in (*reversed(node.input), *reversed(node.output)):  # the last stays
            if name in bad:
                yield f"{prefix}{node.name}", bad[name]
        for body in bodies(node):
            yield from _named_in(body, bad, f"{prefix}{node.name}/")


def _bad_activations(ranges: Mapping[str, ValueRange]) -> dict[str, str]:
    bad = {}
    for name, found in ranges.items():
        if found.largest * HEADROOM > LARGEST:
            largest = found.largest
            bad[name] = f"{name!r} reaches {largest:.3g}, {_limit(largest)}"
        elif 0 < found.largest < SMALLEST_NORMAL:
            bad[name] = f"{name!r} stays below {found.largest:.3g}, too small for fp16"
    return bad


def _limit(reached: float) -> str:
    """Return why a value is too large for float16, which may hold it."""
    end = f"fp16 ends at {LARGEST:g}"
    return (
        end if reached > LARGEST else f"{end}, and other data may reach twice as much"
    )


def _bad_weights(
    model: ModelProto, why: Callable[[str, NDArray[np.float32]], str | None]
) -> dict[str, str]:
    return {
        name: reason
        for name, tensor in _constants(model)
        if tensor.data_type == TensorProto.FLOAT
        and (reason := why(name, array_of(tensor)))
    }


def _constants(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield initialisers and the values of Constant nodes, by name."""
    for graph in all_graphs(model.graph):
        for tensor in graph.initializer:
            yield tensor.name, tensor
    for node in all_nodes(model.graph):
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
