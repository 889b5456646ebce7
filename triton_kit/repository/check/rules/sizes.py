"""Counting elements and bytes as the server does, 64-bit overflow included."""

from __future__ import annotations

from collections.abc import Iterable

from triton_kit.tensors import DATA_TYPES as TENSOR_TYPES
from triton_kit.triton.schema import DATA_TYPES

VARIABLE = -1
_ITEM_BYTES = {
    DATA_TYPES.Value(dtype.config): dtype.item_bytes or 0 for dtype in TENSOR_TYPES
}


def element_count(dims: Iterable[int]) -> int:
    """Return the number of elements; -1 if a dimension varies, 0 without dimensions."""
    dims = list(dims)
    if VARIABLE in dims:
        return VARIABLE
    count = 1 if dims else 0
    for dim in dims:
        count = _wrapped(count * dim)
    return count


def item_bytes(data_type: int) -> int:
    """Return the bytes of one element; 0 for strings and unknown types."""
    return _ITEM_BYTES.get(data_type, 0)


def byte_size(data_type: int, dims: Iterable[int]) -> int:
    """Return the bytes of a tensor; -1 if its size is not fixed."""
    count = element_count(dims)
    size = item_bytes(data_type)
    return VARIABLE if count < 0 or not size else _wrapped(count * size)


def trunks(dims: Iterable[int]) -> list[int]:
    """Return the element counts between the dimensions that vary."""
    counts = [1]
    for dim in dims:
        if dim == VARIABLE:
            counts.append(1)
        else:
            counts[-1] = _wrapped(counts[-1] * dim)
    return counts


def _wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
