"""Tensors as raw bytes, the form that Triton takes over HTTP and gRPC alike."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.tensors import DataType

_LENGTH = struct.Struct("<I")


def to_bytes(array: NDArray[Any], dtype: DataType) -> bytes:
    """Lay out a tensor row by row, little-endian; a string is its length and bytes."""
    if dtype.item_bytes is None:
        items = [bytes(item) for item in array.ravel()]
        return b"".join(_LENGTH.pack(len(item)) + item for item in items)
    little_endian = np.dtype(dtype.numpy).newbyteorder("<")
    return np.ascontiguousarray(array, little_endian).tobytes()


def from_bytes(data: bytes, dtype: DataType) -> NDArray[Any]:
    """Read what `to_bytes` wrote; the result has one axis.

    Raises:
        ValueError: the bytes are not whole items of this type.
    """
    if dtype.item_bytes is not None:
        return np.frombuffer(data, np.dtype(dtype.numpy).newbyteorder("<"))
    items, at = [], 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise ValueError("the last string has no whole length")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise ValueError(f"a string of {length} bytes ends after {len(data) - at}")
        items.append(data[at : at + length])
        at += length
    array = np.empty(len(items), np.object_)
    array[:] = items
    return array
