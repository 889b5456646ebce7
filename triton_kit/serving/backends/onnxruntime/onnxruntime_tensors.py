"""Triton's tensors as NumPy arrays and back; bfloat16 travels as uint16 words."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    import onnxruntime

_ONNX_BFLOAT16 = 16  # in TensorProto.DataType


class RefusedError(Exception):
    """A request that fails alone; the other requests of its batch can run."""


def is_plain(data_type: str) -> bool:
    """Whether Triton and NumPy agree on the values, so that they need no conversion."""
    return data_type not in _READERS


def reader_of(data_type: str) -> Callable[[pb_utils.Tensor], np.ndarray]:
    """Return what gives the values of a request's tensor, shape as sent.

    Strings come as `str`; RefusedError is raised for one that is not UTF-8.
    """
    return _READERS.get(data_type, pb_utils.Tensor.as_numpy)


def writer_of(name: str, data_type: str) -> Callable[[np.ndarray], pb_utils.Tensor]:
    """Return what makes a response's tensor of the values of a graph's output."""
    return partial(_WRITERS.get(data_type, pb_utils.Tensor), name)


def _read_words(tensor: pb_utils.Tensor) -> np.ndarray:
    import onnxruntime as ort

    # NumPy has no bfloat16, and takes none by DLPack either; onnxruntime does.
    return words_of(ort.OrtValue.from_dlpack(tensor.to_dlpack()))


def _read_texts(tensor: pb_utils.Tensor) -> np.ndarray:
    values = tensor.as_numpy()
    try:
        texts = [text.decode() for text in values.reshape(-1)]
    except UnicodeDecodeError as error:
        # onnxruntime takes text from Python and nothing else; from C++, any bytes.
        message = f"input {tensor.name()!r}: {error.object!r} is not UTF-8"
        raise RefusedError(message) from error
    return _objects(texts, values.shape)


def _write_words(name: str, values: np.ndarray) -> pb_utils.Tensor:
    import onnxruntime as ort

    # The memory must be its own: Triton reads it when `values` may be gone.
    value = ort.OrtValue.ortvalue_from_shape_and_type(
        list(values.shape), _ONNX_BFLOAT16, "cpu"
    )
    words = np.ascontiguousarray(values)
    ctypes.memmove(value.data_ptr(), words.ctypes.data, words.nbytes)
    return pb_utils.Tensor.from_dlpack(name, value._ortvalue.to_dlpack())


def _write_texts(name: str, values: np.ndarray) -> pb_utils.Tensor:
    texts = [text.encode() for text in values.reshape(-1)]
    return pb_utils.Tensor(name, _objects(texts, values.shape))


# What is neither of these is a number, and Triton's own conversion is the fastest.
_READERS = {"TYPE_BF16": _read_words, "TYPE_STRING": _read_texts}
_WRITERS = {"TYPE_BF16": _write_words, "TYPE_STRING": _write_texts}


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
