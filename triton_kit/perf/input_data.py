"""Inputs from elsewhere: zeros, files in a folder, .npz, perf_analyzer's JSON.

Everything becomes steps. A step holds the inputs of one inference, batch axis left
out, and the outputs that are expected of it, if any are known.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.perf.data import Array, Inputs
from triton_kit.perf.model import ModelInfo
from triton_kit.perf.wire.tensor_bytes import from_bytes
from triton_kit.samples import read_npz
from triton_kit.tensors import DYNAMIC, DataType, Shape, Tensor

RANDOM, ZERO = "random", "zero"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One inference: what goes in, and what must come out. No batch axis."""

    inputs: Inputs
    expected: Mapping[str, Array] = field(default_factory=dict)


def read_steps(
    source: str, model: ModelInfo, shapes: Mapping[str, Shape]
) -> list[Step]:
    """Read `--input-data`: `zero`, a folder, an .npz or perf_analyzer's JSON.

    Args:
        source: one of these, as written on the command line.
        model: whose inputs these are.
        shapes: of inputs that vary, batch axis left out; data with a shape of its
            own does not need one.

    Raises:
        SpecError: it cannot be read, or does not fit the model.
    """
    if source == ZERO:
        return [Step(inputs={t.name: _zeros(t, shapes) for t in _needed(model)})]
    path = Path(source)
    if path.is_dir():
        return [_step_from_folder(path, model, shapes)]
    if not path.exists():
        raise SpecError(
            f"input data {source!r}: no such file or folder",
            hint="random, zero, a folder, an .npz or a JSON file",
        )
    steps = (
        _steps_from_npz(path, model)
        if path.suffix == ".npz"
        else _steps_from_json(path, model, shapes)
    )
    if not steps:
        raise SpecError(f"{path}: no data in it")
    return steps


def batches(steps: Sequence[Step], model: ModelInfo, batch_size: int) -> list[Step]:
    """Join steps into requests; the last one is filled up from the first steps.

    Raises:
        SpecError: steps that would share a batch differ in shape or inputs.
    """
    if not model.max_batch_size:
        return list(steps)
    joined = []
    for first in range(0, len(steps), batch_size):
        members = [steps[(first + n) % len(steps)] for n in range(batch_size)]
        joined.append(
            Step(
                inputs=_stacked([step.inputs for step in members]),
                expected=_stacked([step.expected for step in members]),
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


def _needed(model: ModelInfo) -> list[Tensor]:
    return [t for t in model.inputs if t.name not in model.optional_inputs]


def _shape_of(tensor: Tensor, shapes: Mapping[str, Shape]) -> Shape:
    shape = shapes.get(tensor.name, tensor.shape)
    if DYNAMIC in shape:
        example = ",".join("1" if s == DYNAMIC else str(s) for s in tensor.shape)
        raise SpecError(
            f"input {tensor.name!r} varies in shape, and its data has none",
            hint=f"say what to send: --shape {tensor.name}:{example}",
        )
    return shape


def _zeros(tensor: Tensor, shapes: Mapping[str, Shape]) -> Array:
    zeros: Array = np.zeros(_shape_of(tensor, shapes), tensor.dtype.numpy)
    if tensor.dtype.item_bytes is None:
        zeros[...] = b""
    return zeros


def _step_from_folder(
    folder: Path, model: ModelInfo, shapes: Mapping[str, Shape]
) -> Step:
    """One file per input, named for it: raw bytes, or one string per line."""
    inputs = {}
    for tensor in _needed(model):
        path = folder / tensor.name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SpecError(
                f"{folder}: cannot read the input {tensor.name!r}: {error.strerror}",
                hint="one file for each input, named like it",
            ) from error
        shape = _shape_of(tensor, shapes)
        if tensor.dtype.item_bytes is None:
            inputs[tensor.name] = _strings(data.splitlines(), shape, str(path))
        else:
            inputs[tensor.name] = _from_raw(data, tensor.dtype, shape, str(path))
    return Step(inputs=inputs)


def _steps_from_npz(path: Path, model: ModelInfo) -> list[Step]:
    """Arrays named for the inputs; their first axis counts the steps."""
    known = {tensor.name: tensor for tensor in model.inputs}
    columns = {n: array for n, array in read_npz(path).items() if n in known}
    missing = [t.name for t in _needed(model) if t.name not in columns]
    if missing:
        raise SpecError(f"{path}: no array named {missing[0]!r}, which the model needs")
    for name, column in columns.items():
        _check(known[name], column.shape[1:], f"{path}: {name}")
        if column.dtype != np.dtype(known[name].dtype.numpy):
            raise SpecError(
                f"{path}: {name} is {column.dtype}, "
                f"the model takes {known[name].dtype.name}"
            )
    count = min(len(column) for column in columns.values())
    return [
        Step(inputs={name: column[row] for name, column in columns.items()})
        for row in range(count)
    ]


def _steps_from_json(
    path: Path, model: ModelInfo, shapes: Mapping[str, Shape]
) -> list[Step]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: not readable JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise SpecError(f"{path}: no list named 'data' in it")
    given = _flat(document["data"])
    expected = _flat(document.get("validation_data", []))
    if expected and len(expected) != len(given):
        raise SpecError(
            f"{path}: {len(given)} steps, but validation_data for {len(expected)}"
        )
    inputs = {tensor.name: tensor for tensor in model.inputs}
    outputs = {tensor.name: tensor for tensor in model.outputs}
    steps = []
    for index, fields in enumerate(given):
        where = f"{path}: step {index}"
        values = _tensors(fields, inputs, shapes, where)
        absent = [t.name for t in _needed(model) if t.name not in values]
        if absent:
            raise SpecError(f"{where}: no value for the input {absent[0]!r}")
        wanted = expected[index] if expected else {}
        steps.append(Step(inputs=values, expected=_tensors(wanted, outputs, {}, where)))
    return steps


def _flat(entries: Sequence[Any]) -> list[Any]:
    """A list of steps, or of streams, each of them a list of steps."""
    flat: list[Any] = []
    for entry in entries:
        flat += entry if isinstance(entry, list) else [entry]
    return flat


def _tensors(
    fields: Any,  # noqa: ANN401  JSON of the user
    known: Mapping[str, Tensor],
    shapes: Mapping[str, Shape],
    where: str,
) -> dict[str, Array]:
    if not isinstance(fields, dict):
        raise SpecError(f"{where}: not an object of tensors")
    arrays = {}
    for name, value in fields.items():
        if name not in known:
            raise SpecError(
                f"{where}: unknown tensor {name!r}", hint=did_you_mean(name, known)
            )
        arrays[name] = _tensor(value, known[name], shapes, f"{where}: {name}")
    return arrays


def _tensor(
    value: Any,  # noqa: ANN401  JSON of the user
    tensor: Tensor,
    shapes: Mapping[str, Shape],
    where: str,
) -> Array:
    shape, content = None, value
    if isinstance(value, dict):
        shape = tuple(value["shape"]) if "shape" in value else None
        content = value.get("content", [])
    if shape is None:
        shape = _own_shape(tensor, shapes, content)
    _check(tensor, shape, where)
    if isinstance(value, dict) and "b64" in value:
        try:
            raw = base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError) as error:
            raise SpecError(f"{where}: not base64: {error}") from error
        return _from_raw(raw, tensor.dtype, shape, where)
    flat = content if isinstance(content, list) else [content]
    if tensor.dtype.item_bytes is None:
        return _strings([_as_bytes(item) for item in _leaves(flat)], shape, where)
    try:
        array: Array = np.array(flat, tensor.dtype.numpy)
    except (ValueError, TypeError, OverflowError) as error:
        raise SpecError(f"{where}: not {tensor.dtype.name}: {error}") from error
    return _reshaped(array, shape, where)


def _own_shape(
    tensor: Tensor,
    shapes: Mapping[str, Shape],
    content: Any,  # noqa: ANN401  JSON of the user
) -> Shape:
    """The shape from --shape or the model; one unknown axis follows from the data."""
    shape = shapes.get(tensor.name, tensor.shape)
    if shape.count(DYNAMIC) == 1 and isinstance(content, list):
        rest = -math.prod(shape)
        size = len(_leaves(content)) // rest if rest else 0
        return tuple(size if axis == DYNAMIC else axis for axis in shape)
    return _shape_of(tensor, shapes)


def _leaves(content: list[Any]) -> list[Any]:
    leaves: list[Any] = []
    for item in content:
        leaves += _leaves(item) if isinstance(item, list) else [item]
    return leaves


def _as_bytes(item: Any) -> bytes:  # noqa: ANN401  JSON of the user
    return str(item).encode()


def _check(tensor: Tensor, shape: Shape, where: str) -> None:
    fits = len(shape) == len(tensor.shape) and all(
        size in (DYNAMIC, given)
        for size, given in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise SpecError(
            f"{where}: shape {list(shape)}, the model says {list(tensor.shape)}"
        )


def _strings(items: Sequence[bytes], shape: Shape, where: str) -> Array:
    array: Array = np.empty(len(items), np.object_)
    array[:] = items
    return _reshaped(array, shape, where)


def _from_raw(data: bytes, dtype: DataType, shape: Shape, where: str) -> Array:
    try:
        return _reshaped(from_bytes(data, dtype), shape, where)
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from error


def _reshaped(array: Array, shape: Shape, where: str) -> Array:
    if array.size != math.prod(shape):
        raise SpecError(
            f"{where}: {array.size} values, but shape {list(shape)} "
            f"holds {math.prod(shape)}"
        )
    return array.reshape(shape)
