"""Weights that stay in files: the graph in memory names the file, by its whole path.

A tensor that is apart has `data_location` EXTERNAL, and a file in the conversion's
scratch folder, which no process changes. What reads or makes weights goes through here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

# Types of whole bytes; others are packed.
_APART_TYPES = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
    *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a tensor are."""

    file: Path
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The sizes in bytes from which a model is large, and a weight of such a model."""

    model: int = 2**28
    tensor: int = 2**20


@dataclass(slots=True)
class _Folder:
    path: Path
    limits: Limits


_folder: ContextVar[_Folder | None] = ContextVar("weights_folder", default=None)


@contextmanager
def weights_in(scratch: Path, *, limits: Limits | None = None) -> Iterator[None]:
    """Let models that are read in here leave large weights in files in `scratch`.

    Without `limits` those of the call around this one hold.
    """
    outer = _folder.get()
    held = limits or (outer.limits if outer else Limits())
    token = _folder.set(_Folder(scratch, held))
    try:
        yield
    finally:
        _folder.reset(token)


def apart_from_bytes(model_bytes: int) -> int | None:
    """Return the size from which weights of a model stay apart; None if none do."""
    folder = _folder.get()
    if folder is None or model_bytes < folder.limits.model:
        return None
    return folder.limits.tensor


def new_folder() -> Path:
    """Return a new folder for weights, where they may be apart."""
    folder = _folder.get()
    assert folder is not None  # `apart_from_bytes` said so
    return Path(tempfile.mkdtemp(prefix="weights-", dir=folder.path))


def can_be_apart(data_type: int) -> bool:
    """Say whether a type's values are whole bytes."""
    return data_type in _APART_TYPES


def is_apart(tensor: TensorProto) -> bool:
    """Say whether a tensor's values are in a file."""
    return tensor.data_location == TensorProto.EXTERNAL


def has_apart(model: ModelProto) -> bool:
    """Say whether any weight of a model is in a file."""
    return any(map(is_apart, model.graph.initializer))


def place_of(tensor: TensorProto) -> Place:
    """Return where the values of a tensor are that is apart."""
    found = {entry.key: entry.value for entry in tensor.external_data}
    size = int(found.get("length", 0)) or prod(tensor.dims) * _item_bytes(tensor)
    return Place(Path(found["location"]), int(found.get("offset", 0)), size)


def put_apart(tensor: TensorProto, place: Place, *, location: str = "") -> None:
    """Let a tensor name a file for its values, by its path or by `location`."""
    for name in ("raw_data", "external_data"):
        tensor.ClearField(name)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", location or str(place.file)),
        ("offset", place.offset),
        ("length", place.size),
    ):
        tensor.external_data.add(key=key, value=str(value))


def array_of(tensor: TensorProto) -> NDArray[Any]:
    """Return the values of a tensor; those of a file are read where they are used."""
    if not is_apart(tensor):
        return numpy_helper.to_array(tensor)
    place = place_of(tensor)
    dtype, shape = _dtype_of(tensor), tuple(tensor.dims)
    return np.memmap(place.file, dtype, "r", place.offset, shape)


def tensor_like(tensor: TensorProto, values: NDArray[Any], name: str) -> TensorProto:
    """Return a tensor of other values, in a file where the first one is in one."""
    if not is_apart(tensor):
        return numpy_helper.from_array(values, name)
    data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
    made = TensorProto(name=name, data_type=data_type, dims=values.shape)
    place = Place(_new_file(tensor), 0, values.nbytes)
    values.tofile(place.file)
    put_apart(made, place)
    return made


def whole(model: ModelProto) -> ModelProto:
    """Return a model with all of its weights in memory: itself, or a copy."""
    if not has_apart(model):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in filter(is_apart, copy.graph.initializer):
        values = np.asarray(array_of(tensor)).tobytes()
        for name in ("external_data", "data_location"):
            tensor.ClearField(name)
        tensor.raw_data = values
    return copy


def write_bare(model: ModelProto, path: Path) -> None:
    """Write a graph that names its files by their whole paths, for `read_bare`."""
    path.write_bytes(model.SerializeToString())


def read_bare(path: Path) -> ModelProto:
    """Read what `write_bare` wrote, for instance another process."""
    model = ModelProto()
    model.ParseFromString(path.read_bytes())
    return model


def write_in_place(model: ModelProto) -> Path:
    """Write a graph where its weights are, which are all in one file."""
    copy = ModelProto()
    copy.CopyFrom(model)
    apart = [tensor for tensor in copy.graph.initializer if is_apart(tensor)]
    path = place_of(apart[0]).file.with_name("graph.onnx")
    for tensor in apart:
        place = place_of(tensor)
        put_apart(tensor, place, location=place.file.name)
    path.write_bytes(copy.SerializeToString())
    return path


def _new_file(tensor: TensorProto) -> Path:
    """Return a new file beside that of a tensor, which is in a scratch folder."""
    file, name = tempfile.mkstemp(
        prefix="made-", suffix=".bin", dir=place_of(tensor).file.parent
    )
    os.close(file)
    return Path(name)


def _dtype_of(tensor: TensorProto) -> np.dtype[Any]:
    return np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))


def _item_bytes(tensor: TensorProto) -> int:
    return _dtype_of(tensor).itemsize
