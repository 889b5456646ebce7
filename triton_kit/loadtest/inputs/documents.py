"""perf_analyzer's JSON: steps or streams, shapes, base64, expected outputs."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.files import read_json
from triton_kit.loadtest.inputs.data import Array
from triton_kit.loadtest.inputs.draws import as_floats
from triton_kit.loadtest.inputs.steps import (
    InputStep,
    check_shape,
    from_raw,
    needed,
    reshaped,
    shape_of,
    strings,
)
from triton_kit.tensors import DYNAMIC, DataType, Shape, Tensor, data_type
from triton_kit.triton.model import ModelInfo


def steps_from_json(
    path: Path, model: ModelInfo, shapes: Mapping[str, Shape]
) -> list[InputStep]:
    """Read steps or streams of steps, and the expected outputs of each.

    Raises:
        SpecError: it is no such JSON, or does not fit the model.
    """
    document = read_json(path)
    try:
        return steps_from_document(document, path, model, shapes)
    except RecursionError as error:
        raise SpecError(f"{path}: its lists are nested too deep") from error


def steps_from_document(
    document: Any,  # noqa: ANN401  JSON of the user
    path: Path,
    model: ModelInfo,
    shapes: Mapping[str, Shape],
) -> list[InputStep]:
    """Read the same from JSON that was parsed already; `path` is where it is from.

    Raises:
        SpecError: it does not fit the model.
    """
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise SpecError(f"{path}: no list named 'data' in it")
    given = _flat(document["data"], path)
    responses = document.get("validation_data", [])
    if not isinstance(responses, list):
        raise SpecError(f"{path}: 'validation_data' is no list")
    expected = _flat(responses, path)
    if expected and [stream for stream, _ in expected] != [s for s, _ in given]:
        raise SpecError(
            f"{path}: {len(given)} steps, but validation_data for {len(expected)}, "
            "or in other streams"
        )
    inputs = {tensor.name: tensor for tensor in model.inputs}
    outputs = {tensor.name: tensor for tensor in model.outputs}
    steps = []
    for index, (stream, fields) in enumerate(given):
        where = f"{path}: step {index}"
        values = _tensors(fields, inputs, shapes, where)
        absent = [t.name for t in needed(model) if t.name not in values]
        if absent:
            raise SpecError(f"{where}: no value for the input {absent[0]!r}")
        wanted = expected[index][1] if expected else {}
        response = _tensors(wanted, outputs, {}, where)
        steps.append(InputStep(inputs=values, expected=response, stream=stream))
    return steps


def _flat(entries: Sequence[Any], path: Path) -> list[tuple[int, Any]]:
    """Return each step with its stream, of a list of steps or of streams of them."""
    if not any(isinstance(entry, list) for entry in entries):
        return [(0, step) for step in entries]
    streams = [entry if isinstance(entry, list) else [entry] for entry in entries]
    if not all(streams):
        raise SpecError(f"{path}: stream {streams.index([])} has no steps")
    return [(number, step) for number, stream in enumerate(streams) for step in stream]


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
        shape = _shape(value["shape"], where) if "shape" in value else None
        content = value.get("content", [])
    if shape is None:
        shape = _own_shape(tensor, shapes, content)
    check_shape(tensor, shape, where)
    if isinstance(value, dict) and "b64" in value:
        try:
            raw = base64.b64decode(value["b64"], validate=True)
        except (ValueError, TypeError) as error:  # other letters are a ValueError
            raise SpecError(f"{where}: not base64: {error}") from error
        return _from_base64(raw, tensor, shape, where)
    flat = content if isinstance(content, list) else [content]
    if None in _leaves(flat):
        raise SpecError(f"{where}: null is no {tensor.dtype.name}")
    if tensor.dtype.item_bytes is None:
        return strings([_as_bytes(item) for item in _leaves(flat)], shape, where)
    return reshaped(exact_array(flat, tensor.dtype, where), shape, where)


def _from_base64(raw: bytes, tensor: Tensor, shape: Shape, where: str) -> Array:
    try:
        return from_raw(raw, tensor.dtype, shape, where)
    except SpecError as error:
        if tensor.dtype.item_bytes is not None:
            raise
        raise SpecError(
            f"{where}: base64 without the length of each string: {error.message}",
            hint="put 4 bytes, the length in little-endian order, before each string; "
            f"or send a file as it is: --input-data {tensor.name}:FILE",
        ) from error


def _shape(value: Any, where: str) -> Shape:  # noqa: ANN401  JSON of the user
    is_list = isinstance(value, list)
    if not is_list or not all(type(size) is int and size >= 0 for size in value):
        raise SpecError(f"{where}: shape {value!r} is no list of sizes")
    return tuple(value)


def exact_array(
    values: Any,  # noqa: ANN401  an array, or lists of numbers
    dtype: DataType,
    where: str,
) -> Array:
    """Return numbers in a tensor's type; none may change on the way, but be rounded.

    BF16 becomes `uint16` words, which an array may have already.

    Raises:
        SpecError: a value is no number of that type.
    """
    is_words = isinstance(values, np.ndarray) and values.dtype == dtype.numpy
    if dtype.name == "BF16" and not is_words:
        return as_floats(exact_array(values, data_type("FP32"), where), dtype)
    try:
        plain = np.array(values)
        with np.errstate(invalid="ignore", over="ignore"):
            array: Array = plain.astype(dtype.numpy)
    except (ValueError, TypeError, OverflowError) as error:
        raise SpecError(f"{where}: not {dtype.name}: {error}") from error
    if plain.dtype.kind in "fiu":
        is_changed = np.zeros(plain.shape, bool)
        if array.dtype.kind in "iu":
            is_changed = array != plain
        elif array.dtype.kind == "f":
            is_changed = np.isinf(array) & np.isfinite(plain)
        if is_changed.any():
            raise SpecError(f"{where}: {plain[is_changed][0]} is no {dtype.name}")
    return array


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
    return shape_of(tensor, shapes)


def _leaves(content: list[Any]) -> list[Any]:
    leaves: list[Any] = []
    for item in content:
        leaves += _leaves(item) if isinstance(item, list) else [item]
    return leaves


def _as_bytes(item: Any) -> bytes:  # noqa: ANN401  JSON of the user
    return str(item).encode()
