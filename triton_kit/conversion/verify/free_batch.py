"""A model whose batch has a fixed size becomes one that takes any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from triton_kit.conversion.onnx.onnx_file import (
    inferred,
    save_onnx,
    value_shapes,
    value_types,
)
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.check import Check
from triton_kit.conversion.verify.gate import make_reference
from triton_kit.conversion.workers.models import run_onnx, write_feeds
from triton_kit.conversion.workers.samples import (
    Array,
    Feed,
    fit,
    load_samples,
    random_feed,
)
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.options.conversion import Gate
from triton_kit.tensors import DYNAMIC, Shape

BATCH = "batch"
RUNS = 3  # of the original, whose rows the new one computes at once
_RESIZE_INPUTS = 4  # the last one are sizes
_HINT = "export it with its batch axis free"


def free_batch(source: SourceModel, spec: ConvertSpec, scratch: Path) -> SourceModel:
    """Return the source with axis 0 of its inputs free, where that was asked for.

    Raises:
        ConvertError: the inputs have no fixed batch, or the graph holds it elsewhere
            than in shapes of Reshape and Resize.
    """
    if not spec.free_batch:
        return source
    sizes = {t.shape[0] for t in source.facts.inputs if t.shape}
    if len(sizes) != 1 or min(sizes) < 1:
        found = ", ".join(f"{t.name} {t.shape}" for t in source.facts.inputs)
        raise ConvertError(
            f"{source.path}: no fixed batch axis that all inputs share: {found}",
            hint="leave --free-batch out",
        )
    size = sizes.pop()
    model = source.load()
    _free(model, {t.name: t.shape for t in source.facts.inputs})
    axes = _batch_axes(model)
    outputs = inferred(model).output
    for output in outputs:
        end = axes.get(output.name)
        if end is None or (end.inside, end.outside) != (1, 1):
            raise ConvertError(
                f"{source.path}: the batch axis does not reach output {output.name!r}",
                hint=_HINT,
            )
        output.type.tensor_type.shape.dim[end.axis].dim_param = BATCH
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.extend(outputs)
    path = scratch / "free_batch.onnx"
    save_onnx(model, path)
    freed = SourceModel.read(path)
    try:
        _verify(source, freed, size, spec, scratch)
    except VerifyError as error:
        raise ConvertError(
            f"{source.path}: with its batch axis free, {error.message}", hint=_HINT
        ) from error
    note = (
        f"the batch axis, fixed at {size}, is free: {RUNS * size} rows at once agree "
        "with the original row by row"
    )
    return replace(freed, notes=(*source.notes, note))


def _free(model: ModelProto, inputs: Mapping[str, Shape]) -> None:
    """Free the axis of the inputs, and follow it through shapes that are constants."""
    static, types = value_shapes(model, inputs), value_types(model)
    constants = _constants(model)
    graph = model.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name in inputs and dims:
            dims[0].dim_param = BATCH
        elif value.name not in inputs:
            value.type.tensor_type.ClearField("shape")
    for node in list(graph.node):
        is_reshape = node.op_type == "Reshape" and node.input[1] in constants
        is_resize = node.op_type == "Resize" and len(node.input) == _RESIZE_INPUTS
        if not is_reshape and not is_resize:
            continue
        before, after = static.get(node.input[0]), static.get(node.output[0])
        axis = _batch_axes(model).get(node.input[0])
        if before is None or not after or axis is None:
            continue
        if is_reshape:
            axis = _free_reshape(model, node, before, after, axis)
        else:
            _scale(model, node, before, after)
        name, sizes = node.output[0], list[int | str | None](after)
        sizes[axis.axis] = f"{BATCH}_{axis.inside}_{axis.outside}"
        info = helper.make_tensor_value_info(name, types[name], sizes)
        graph.value_info.append(info)


def _constants(model: ModelProto) -> set[str]:
    made = {n.output[0] for n in model.graph.node if n.op_type == "Constant"}
    return made | {tensor.name for tensor in model.graph.initializer}


@dataclass(frozen=True, slots=True)
class _BatchAxis:
    """Where the batch is in a value.

    The axis has `inside` entries for each of the batch, and all that `outside` times.
    """

    axis: int
    inside: int
    outside: int


def _batch_axes(model: ModelProto) -> dict[str, _BatchAxis]:
    """Return where the batch is, of the values of which it is known."""
    found = {}
    graph = inferred(model)
    for value in (*graph.input, *graph.value_info, *graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            name, *numbers = dim.dim_param.split("_")
            if name == BATCH:
                inside, outside = map(int, numbers or (1, 1))
                found[value.name] = _BatchAxis(axis, inside, outside)
    return found


def _free_reshape(
    model: ModelProto, node: NodeProto, before: Shape, after: Shape, held: _BatchAxis
) -> _BatchAxis:
    """Let the axis that holds the batch take what remains; the others are as they were.

    The batch is found by how many values lie inside of one of its rows.
    """
    row = held.inside * prod(before[held.axis + 1 :])
    rows_before = held.outside * prod(before[: held.axis])
    ends = [prod(after[index + 1 :]) for index in range(len(after))]
    holds = [index for index, end in enumerate(ends) if end <= row]
    exact = [index for index in holds if ends[index] == row]
    # Of several axes, all but one of size 1, the one with as many rows before it.
    alike = [index for index in exact if prod(after[:index]) == rows_before]
    chosen = (alike or exact or holds)[0]
    sizes = [-1 if index == chosen else size for index, size in enumerate(after)]
    _set_input(model, node, 1, np.array(sizes, np.int64))
    outside = rows_before // prod(after[:chosen])
    return _BatchAxis(chosen, row // ends[chosen], outside)


def _scale(model: ModelProto, node: NodeProto, before: Shape, after: Shape) -> None:
    """Give a Resize factors instead of sizes, which hold the batch."""
    factors = [new / old for new, old in zip(after, before, strict=True)]
    _set_input(model, node, 2, np.array(factors, np.float32))
    del node.input[3:]


def _set_input(model: ModelProto, node: NodeProto, slot: int, values: Array) -> None:
    name = f"{node.output[0]}_free_batch"
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    node.input[slot] = name


def _verify(
    source: SourceModel,
    freed: SourceModel,
    size: int,
    spec: ConvertSpec,
    scratch: Path,
) -> None:
    """Run the original once for every part of a batch, and the new one for all of it.

    Raises:
        VerifyError: one of them does not run, or their rows differ.
    """
    parts = _parts(source, size, spec)
    folder = scratch / "free_batch"
    run = partial(run_onnx, level="off", timeout_s=spec.timeout_s)
    apart = run(
        source.path, write_feeds(parts, folder / "parts"), folder=folder / "apart"
    )
    feed = {
        name: np.concatenate([part[name] for part in parts]) if array.ndim else array
        for name, array in parts[0].items()
    }
    feeds = write_feeds([feed], folder / "whole")
    at_once = run(freed.path, feeds, folder=folder / "at_once")
    axes = {t.name: t.shape.index(DYNAMIC) for t in freed.facts.outputs}
    joined = {
        name: np.concatenate([outputs[name] for outputs in apart], axis=axis)
        for name, axis in axes.items()
    }
    reference = make_reference(feeds, [joined], timeout_s=spec.timeout_s, data="")
    Check(reference, Gate(), "fp32").outputs(at_once)


def _parts(source: SourceModel, size: int, spec: ConvertSpec) -> list[Feed]:
    """Return inputs of the original: parts of the samples, or random values."""
    tensors = source.facts.inputs
    shapes = {t.name: (RUNS * size, *t.shape[1:]) if t.shape else () for t in tensors}
    file = spec.verify_data or (spec.calibration and spec.calibration.data)
    if file:
        feed = fit(load_samples(file, tensors), shapes)
    else:
        rng = np.random.default_rng(spec.seed)
        feed = random_feed(tensors, shapes, rng, spec.ranges)
    return [
        {n: a[i * size : (i + 1) * size] if a.ndim else a for n, a in feed.items()}
        for i in range(RUNS)
    ]
