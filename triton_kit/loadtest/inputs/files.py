"""Inputs from files: a folder, .npz, .npy, perf_analyzer's JSON, raw bytes.

Everything becomes steps (`steps.InputStep`), batch axis left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.files import DATA_BYTES, open_regular, read_bytes
from triton_kit.loadtest.inputs import trace
from triton_kit.loadtest.inputs.data import Array
from triton_kit.loadtest.inputs.documents import steps_from_json
from triton_kit.loadtest.inputs.steps import (
    InputStep,
    check_shape,
    from_raw,
    needed,
    shape_of,
    strings,
)
from triton_kit.samples import read_npz
from triton_kit.tensors import DYNAMIC, Shape, Tensor
from triton_kit.triton.model import ModelInfo

_BYTES_KINDS = "SU"  # NumPy's own strings, which hold no Python objects


def read_steps(
    path: Path, model: ModelInfo, shapes: Mapping[str, Shape]
) -> list[InputStep]:
    """Read the data of all inputs: a folder, an .npz, .npy or perf_analyzer's JSON.

    Args:
        path: what exists already.
        model: whose inputs these are.
        shapes: of inputs that vary, batch axis left out; data with a shape of its
            own does not need one.

    Raises:
        SpecError: it cannot be read, or does not fit the model.
    """
    if path.is_dir():
        return [_step_from_folder(path, model, shapes)]
    if path.suffix == ".npz":
        steps = _steps_from_npz(path, model)
    elif path.suffix == ".npy":
        steps = _steps_from_npy(path, model)
    elif path.suffix == trace.SUFFIX:
        steps = trace.steps_from_trace(path, model, shapes)
    else:
        steps = steps_from_json(path, model, shapes)
    if not steps:
        raise SpecError(f"{path}: no data in it")
    return steps


def read_column(path: Path, tensor: Tensor, shapes: Mapping[str, Shape]) -> list[Array]:
    """Read the values of one input, step after step.

    An .npy or .npz has them on its first axis, or is one of them. Any other file is
    one of them: raw bytes; of strings one per line, or the file as one element.

    Raises:
        SpecError: it cannot be read, or does not fit the input.
    """
    if path.is_dir() or path.suffix == ".json":
        raise SpecError(
            f"{path}: not the values of one input ({tensor.name!r})",
            hint=f"give it for all: --input-data {path}; NAME:... beside it wins",
        )
    if path.suffix == ".npy":
        return _rows(_read_npy(path), tensor, str(path))
    if path.suffix != ".npz":
        return [_from_file(path, tensor, shapes)]
    arrays = read_npz(path)
    if tensor.name not in arrays:
        raise SpecError(f"{path}: no array named {tensor.name!r}")
    return _rows(arrays[tensor.name], tensor, f"{path}: {tensor.name}")


def _step_from_folder(
    folder: Path, model: ModelInfo, shapes: Mapping[str, Shape]
) -> InputStep:
    """One file per input, named for it: raw bytes, lines, or one element.

    A file named for an output holds the expected response.
    """
    return InputStep(
        inputs={
            tensor.name: _from_file(folder / tensor.name, tensor, shapes)
            for tensor in needed(model)
        },
        expected={
            tensor.name: _expected_from(folder / tensor.name, tensor)
            for tensor in model.outputs
            if (folder / tensor.name).is_file()
        },
    )


def _expected_from(path: Path, tensor: Tensor) -> Array:
    """Read an expected output; the size of the file gives one unknown axis."""
    data, rest = _bytes_of(path, tensor), -math.prod(tensor.shape)
    shape = tensor.shape
    if shape.count(DYNAMIC) == 1 and rest:
        item_bytes = tensor.dtype.item_bytes
        values = len(data) // item_bytes if item_bytes else len(data.splitlines())
        shape = tuple(values // rest if n == DYNAMIC else n for n in shape)
    return _values(data, tensor, shape, path)


def _from_file(path: Path, tensor: Tensor, shapes: Mapping[str, Shape]) -> Array:
    data = _bytes_of(path, tensor)
    shape = shapes.get(tensor.name, tensor.shape)
    if tensor.dtype.item_bytes is None and shape == (DYNAMIC,):
        shape = (len(_elements(data, shape)),)
    else:
        shape = shape_of(tensor, shapes)
    return _values(data, tensor, shape, path)


def _bytes_of(path: Path, tensor: Tensor) -> bytes:
    try:
        return read_bytes(path, limit=DATA_BYTES)
    except SpecError as error:
        raise SpecError(
            f"the values of {tensor.name!r}: {error.message}",
            hint="a folder has one file for each input, named like it",
        ) from error


def _values(data: bytes, tensor: Tensor, shape: Shape, path: Path) -> Array:
    if tensor.dtype.item_bytes is None:
        return strings(_elements(data, shape), shape, str(path))
    return from_raw(data, tensor.dtype, shape, str(path))


def _elements(data: bytes, shape: Shape) -> list[bytes]:
    """Return the strings of a file: a text's lines, else the file as one element.

    An image, a recording or a text of several lines is one where one is wanted.
    """
    lines = data.splitlines()
    is_one = math.prod(shape) == 1 and len(lines) != 1
    return [data] if is_one or not _is_text(data) else lines


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _steps_from_npz(path: Path, model: ModelInfo) -> list[InputStep]:
    """Arrays named for the inputs; their first axis counts the steps."""
    known = {tensor.name: tensor for tensor in model.inputs}
    arrays = {n: array for n, array in read_npz(path).items() if n in known}
    missing = [t.name for t in needed(model) if t.name not in arrays]
    if missing:
        raise SpecError(f"{path}: no array named {missing[0]!r}, which the model needs")
    columns = {
        name: _column(array, known[name], f"{path}: {name}")
        for name, array in arrays.items()
    }
    count = min((len(column) for column in columns.values()), default=0)
    return [
        InputStep(inputs={name: column[row] for name, column in columns.items()})
        for row in range(count)
    ]


def _steps_from_npy(path: Path, model: ModelInfo) -> list[InputStep]:
    tensors = needed(model)
    if len(tensors) != 1:
        names = ", ".join(tensor.name for tensor in tensors) or "none"
        raise SpecError(
            f"{path}: one array, but {model.name!r} needs the inputs {names}",
            hint=f"say whose it is: --input-data NAME:{path}",
        )
    [tensor] = tensors
    rows = _rows(_read_npy(path), tensor, str(path))
    return [InputStep(inputs={tensor.name: row}) for row in rows]


def _read_npy(path: Path) -> Array:
    try:
        with open_regular(path) as file:
            array: Array = np.load(file, allow_pickle=False)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"{path}: cannot read it: {reason}") from error
    except (ValueError, EOFError, MemoryError) as error:
        raise SpecError(
            f"{path}: not an .npy of plain values: {error}",
            hint="numpy.save(path, array); strings as dtype S or U",
        ) from error
    if not isinstance(array, np.ndarray):
        raise SpecError(f"{path}: not an .npy, but an .npz by its content")
    return array


def _rows(array: Array, tensor: Tensor, where: str) -> list[Array]:
    """Split an array into steps; one without that axis is a single step."""
    if array.ndim == len(tensor.shape):
        array = array[np.newaxis]
    rows = list(_column(array, tensor, where))
    if not rows:
        raise SpecError(f"{where}: no data in it")
    return rows


def _column(array: Array, tensor: Tensor, where: str) -> Array:
    """Return an array, its first axis counting the steps, in the input's type."""
    check_shape(tensor, array.shape[1:], where)
    dtype = tensor.dtype
    if dtype.item_bytes is None and array.dtype.kind in _BYTES_KINDS:
        return _encoded(array, where)
    if array.dtype != np.dtype(dtype.numpy):
        raise SpecError(f"{where} is {array.dtype}, the model takes {dtype.name}")
    return array


def _encoded(array: Array, where: str) -> Array:
    """Return NumPy's strings as an object array of bytes, text as UTF-8."""
    try:
        as_bytes = array if array.dtype.kind == "S" else np.char.encode(array, "utf-8")
    except UnicodeEncodeError as error:
        raise SpecError(f"{where}: not all text: {error}") from error
    return as_bytes.astype(np.object_)
