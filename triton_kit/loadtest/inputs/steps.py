"""Steps: the inputs and the expected outputs of one inference each."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.data import Array, Inputs
from triton_kit.tensors import DYNAMIC, DataType, Shape, Tensor
from triton_kit.triton.model import ModelInfo
from triton_kit.triton.tensor_bytes import from_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InputStep:
    """One inference: its inputs and expected outputs. No batch axis.

    `stream` is which of several streams the step is part of; None is of none.
    """

    inputs: Inputs
    expected: Mapping[str, Array] = field(default_factory=dict)
    stream: int | None = None


def batches(
    steps: Sequence[InputStep], model: ModelInfo, batch_size: int
) -> list[InputStep]:
    """Join steps of a stream into requests; the last is filled up from the first ones.

    Raises:
        SpecError: steps that would share a batch differ in shape or inputs.
    """
    if not model.has_batch_axis:
        return list(steps)
    return [
        batch
        for _, stream in itertools.groupby(steps, operator.attrgetter("stream"))
        for batch in _batches(list(stream), batch_size)
    ]


def _batches(steps: Sequence[InputStep], batch_size: int) -> list[InputStep]:
    joined = []
    for first in range(0, len(steps), batch_size):
        members = [steps[(first + n) % len(steps)] for n in range(batch_size)]
        joined.append(
            InputStep(
                inputs=_stacked([step.inputs for step in members]),
                expected=_stacked([step.expected for step in members]),
                stream=members[0].stream,
            )
        )
    return joined


def _stacked(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    if any(row.keys() != rows[0].keys() for row in rows):
        raise SpecError(
            "steps that share a batch have different tensors", hint="use -b 1"
        )
    try:
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    except ValueError as error:
        raise SpecError(
            f"steps that share a batch have different shapes: {error}", hint="use -b 1"
        ) from error


def needed(model: ModelInfo) -> list[Tensor]:
    """Return the inputs that every request must have."""
    return [t for t in model.inputs if t.name not in model.optional_inputs]


def shape_of(tensor: Tensor, shapes: Mapping[str, Shape]) -> Shape:
    """Return the shape to send where the data has none of its own.

    Raises:
        SpecError: the model's varies, and `shapes` does not say.
    """
    shape = shapes.get(tensor.name, tensor.shape)
    if DYNAMIC in shape:
        example = ",".join("1" if s == DYNAMIC else str(s) for s in tensor.shape)
        raise SpecError(
            f"input {tensor.name!r} varies in shape, and its data has none",
            hint=f"set the shape: --shape {tensor.name}:{example}",
        )
    return shape


def check_shape(tensor: Tensor, shape: Shape, where: str) -> None:
    """Compare the shape of data, without the batch axis, with the model's.

    Raises:
        SpecError: it does not fit.
    """
    fits = len(shape) == len(tensor.shape) and all(
        size in (DYNAMIC, given)
        for size, given in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise SpecError(
            f"{where}: shape {list(shape)}, the model says {list(tensor.shape)}"
        )


def strings(items: Sequence[bytes], shape: Shape, where: str) -> Array:
    """Return a tensor of strings; raises SpecError where their number is wrong."""
    array: Array = np.empty(len(items), np.object_)
    array[:] = items
    return reshaped(array, shape, where)


def from_raw(data: bytes, dtype: DataType, shape: Shape, where: str) -> Array:
    """Return a tensor from its raw bytes; raises SpecError where they do not fit."""
    try:
        return reshaped(from_bytes(data, dtype), shape, where)
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from error


def reshaped(array: Array, shape: Shape, where: str) -> Array:
    """Return the array in a shape; raises SpecError where it has another size."""
    if array.size != math.prod(shape):
        raise SpecError(
            f"{where}: {array.size} values, but shape {list(shape)} "
            f"holds {math.prod(shape)}"
        )
    return array.reshape(shape)
