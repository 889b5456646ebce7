"""What goes into the requests: tensors made from the model's own description."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.tensors import DYNAMIC, DataType, Shape
from triton_kit.triton.model import ModelInfo

# One value per input; arrays of any dtype, strings as object arrays of bytes.
Array = NDArray[Any]
Inputs = Mapping[str, Array]

# Makes one tensor of a shape; what is random in it comes from the generator.
Draw = Callable[[Shape, np.random.Generator], Array]

STRING_LENGTH = 128
# Small whole numbers are valid as pixels, labels and as indices of most tables.
LARGEST_INTEGER = 127

_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)


def drawn_inputs(
    model: ModelInfo,
    draws: Mapping[str, Draw],
    shapes: Mapping[str, Shape],
    *,
    batch_size: int,
    generator: np.random.Generator,
) -> dict[str, Array]:
    """Make one request's inputs.

    Args:
        model: whether its tensors have a batch axis.
        draws: how the values of each input are made.
        shapes: the shape of each input, batch axis left out.
        batch_size: the length of the batch axis, where the model has one.
        generator: where random values come from.
    """
    return {
        name: draw(model.request_shape(shapes[name], batch_size), generator)
        for name, draw in draws.items()
    }


def sample_inputs(
    model: ModelInfo, samples: Mapping[str, Array], *, batch_size: int, first: int
) -> dict[str, Array]:
    """Take one request's inputs from samples; after the last comes the first again.

    Args:
        model: whether its tensors have a batch axis.
        samples: input -> array whose first axis counts the samples.
        batch_size: how many samples make a request of a model that batches.
        first: the sample to begin with.
    """
    return {
        name: rows.take(range(first, first + batch_size), axis=0, mode="wrap")
        if model.has_batch_axis
        else rows[first % len(rows)]
        for name, rows in samples.items()
    }


def check_samples(model: ModelInfo, samples: Mapping[str, Array]) -> None:
    """Compare samples with the inputs of the model.

    Raises:
        SpecError: an input is unknown, or its samples have another type or shape.
    """
    known = {tensor.name: tensor for tensor in model.inputs}
    for name, rows in samples.items():
        if name not in known:
            raise SpecError(
                f"samples are given for {name!r}, which is no input of {model.name!r}",
                hint=did_you_mean(name, known),
            )
        tensor = known[name]
        shape = rows.shape[1:]
        if rows.dtype != np.dtype(tensor.dtype.numpy) or not len(rows):
            raise SpecError(
                f"samples of {name!r} are {len(rows)} of {rows.dtype}, "
                f"the model takes {tensor.dtype.name}"
            )
        if len(shape) != len(tensor.shape) or any(
            size not in (DYNAMIC, given)
            for size, given in zip(tensor.shape, shape, strict=True)
        ):
            raise SpecError(
                f"samples of {name!r} have shape {shape}, "
                f"the model takes {tensor.shape}"
            )


def random_array(
    dtype: DataType,
    shape: Shape,
    generator: np.random.Generator,
    *,
    string_length: int = STRING_LENGTH,
) -> Array:
    """Draw one tensor: floats in [0, 1), integers in [0, 127], text.

    BF16 comes as the upper halves of float32 words (uint16).
    """
    if dtype.name == "BYTES":
        return _random_strings(shape, generator, string_length)
    if dtype.name == "BOOL":
        return generator.integers(0, 2, shape).astype(np.bool_)
    if dtype.name == "BF16":
        words = generator.random(shape, np.float32).view(np.uint32)
        return (words >> 16).astype(np.uint16)
    if dtype.name.startswith("FP"):
        return generator.random(shape).astype(dtype.numpy)
    return generator.integers(0, LARGEST_INTEGER + 1, shape).astype(dtype.numpy)


def constant_array(value: object, dtype: DataType, shape: Shape) -> Array:
    """Fill one tensor with a value of NumPy's type for `dtype`."""
    array: Array = np.empty(shape, dtype.numpy)
    array[...] = value
    return array


def _random_strings(shape: Shape, generator: np.random.Generator, length: int) -> Array:
    strings = np.empty(math.prod(shape), np.object_)
    letters = generator.choice(_LETTERS, (len(strings), length))
    for index, row in enumerate(letters):
        strings[index] = row.tobytes()
    return strings.reshape(shape)
