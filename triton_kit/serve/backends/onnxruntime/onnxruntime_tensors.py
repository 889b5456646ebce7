"""Triton's tensors as NumPy arrays and back; bfloat16 travels as uint16 words."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    import onnxruntime

_ONNX_BFLOAT16 = 16  # in TensorProto.DataType


class RefusedError(Exception):
    """A request that cannot be answered; the others of its batch can."""


def from_triton(tensor: pb_utils.Tensor, data_type: str) -> np.ndarray:
    """Return the values of a request's tensor, shape as sent; strings as `str`.

    Raises:
        RefusedError: a string is not UTF-8.
    """
    if data_type == "TYPE_BF16":
        import onnxruntime as ort

        # NumPy has no bfloat16, and takes none by DLPack either; onnxruntime does.
        return words_of(ort.OrtValue.from_dlpack(tensor.to_dlpack()))
    values = tensor.as_numpy()
    if data_type != "TYPE_STRING":
        return values
    try:
        texts = [text.decode() for text in values.reshape(-1)]
    except UnicodeDecodeError as error:
        # onnxruntime takes text from Python and nothing else; from C++, any bytes.
        message = f"input {tensor.name()!r}: {error.object!r} is not UTF-8"
        raise RefusedError(message) from error
    return _objects(texts, values.shape)


def to_triton(name: str, values: np.ndarray, data_type: str) -> pb_utils.Tensor:
    """Return a response's tensor with the values of a graph's output."""
    if data_type == "TYPE_BF16":
        import onnxruntime as ort

        # The memory must be its own: Triton reads it when `values` may be gone.
        value = ort.OrtValue.ortvalue_from_shape_and_type(
            list(values.shape), _ONNX_BFLOAT16, "cpu"
        )
        words = np.ascontiguousarray(values)
        ctypes.memmove(value.data_ptr(), words.ctypes.data, words.nbytes)
        return pb_utils.Tensor.from_dlpack(name, value._ortvalue.to_dlpack())
    if data_type == "TYPE_STRING":
        texts = [text.encode() for text in values.reshape(-1)]
        return pb_utils.Tensor(name, _objects(texts, values.shape))
    return pb_utils.Tensor(name, np.ascontiguousarray(values))


def words_of(value: onnxruntime.OrtValue) -> np.ndarray:
    """Copy a bfloat16 value out: uint16, same shape."""
    shape = tuple(value.shape())
    size_bytes = 2 * int(np.prod(shape, dtype=np.int64))
    content = ctypes.string_at(value.data_ptr(), size_bytes) if size_bytes else b""
    return np.frombuffer(content, np.uint16).reshape(shape)


def bfloat16_value(words: np.ndarray) -> onnxruntime.OrtValue:
    """Wrap uint16 words as a bfloat16 value for onnxruntime."""
    import onnxruntime as ort

    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(
        np.ascontiguousarray(words), _ONNX_BFLOAT16
    )


def _objects(items: list, shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(items), dtype=np.object_)
    array[:] = items
    return array.reshape(shape)
