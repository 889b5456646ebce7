"""Tensors as raw bytes, the form that Triton takes over HTTP and gRPC alike."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.tensors import DataType


def to_bytes(array: NDArray[Any], dtype: DataType) -> bytes:
    """Lay out a tensor row by row, little-endian; a string is its length and bytes."""
    if dtype.item_bytes is None:
        items = [bytes(item) for item in array.ravel()]
        return b"".join(struct.pack("<I", len(item)) + item for item in items)
    little_endian = np.dtype(dtype.numpy).newbyteorder("<")
    return np.ascontiguousarray(array, little_endian).tobytes()
