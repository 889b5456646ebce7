"""What goes into the requests: tensors made from the model's own description."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.perf.model import ModelInfo
from triton_kit.tensors import DataType, Shape

# One value per input; arrays of any dtype, strings as object arrays of bytes.
Array = NDArray[Any]
Inputs = Mapping[str, Array]

STRING_LENGTH = 128
# Small whole numbers are valid as pixels, labels and as indices of most tables.
LARGEST_INTEGER = 127

_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)


def random_inputs(
    model: ModelInfo,
    shapes: Mapping[str, Shape],
    *,
    batch_size: int,
    generator: np.random.Generator,
) -> dict[str, Array]:
    """Draw one request's inputs: floats in [0, 1), integers in [0, 127], text.

    Args:
        model: the inputs and whether they have a batch axis.
        shapes: the shape of each input, batch axis left out.
        batch_size: the length of the batch axis, where the model has one.
        generator: where the values come from.
    """
    return {
        tensor.name: random_array(
            tensor.dtype,
            model.request_shape(shapes[tensor.name], batch_size),
            generator,
        )
        for tensor in model.inputs
        if tensor.name not in model.optional_inputs
    }


def random_array(
    dtype: DataType, shape: Shape, generator: np.random.Generator
) -> Array:
    """Draw one tensor; BF16 comes as the upper halves of float32 words (uint16)."""
    if dtype.name == "BYTES":
        return _random_strings(shape, generator)
    if dtype.name == "BOOL":
        return generator.integers(0, 2, shape).astype(np.bool_)
    if dtype.name == "BF16":
        words = generator.random(shape, np.float32).view(np.uint32)
        return (words >> 16).astype(np.uint16)
    if dtype.name.startswith("FP"):
        return generator.random(shape).astype(dtype.numpy)
    return generator.integers(0, LARGEST_INTEGER + 1, shape).astype(dtype.numpy)


def _random_strings(shape: Shape, generator: np.random.Generator) -> Array:
    strings = np.empty(math.prod(shape), np.object_)
    letters = generator.choice(_LETTERS, (len(strings), STRING_LENGTH))
    for index, row in enumerate(letters):
        strings[index] = row.tobytes()
    return strings.reshape(shape)
