"""Samples: what a user's .npz holds, made into feeds of the shapes a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.samples import read_npz
from triton_kit.tensors import DYNAMIC, Shape, Tensor

Array = NDArray[Any]  # of any of the tensors' data types
Feed = dict[str, Array]
Outputs = dict[str, Array]

INTEGER_LIMIT = 8  # random integers may be indices: small ones are in range


def numpy_type(tensor: Tensor) -> np.dtype[Any]:
    """Return the type of its arrays: float32 of bfloat16, which NumPy has not."""
    return np.dtype(np.float32 if tensor.dtype.name == "BF16" else tensor.dtype.numpy)


def load_samples(path: Path, inputs: Sequence[Tensor]) -> Feed:
    """Read an .npz file: for every input all its samples, joined along axis 0.

    Arrays are named like inputs; others (labels) are left alone. An array has the rank
    of its input, or one more where each sample is a whole input. Samples of whole
    inputs stay apart where the input's axis 0 has a fixed size: the batch is another
    axis then, as in the state of a recurrent network. One value for a scalar input is
    that of every sample.

    Raises:
        SpecError: not an .npz file, an input without array, a shape or type that does
            not fit, NaN or Inf, arrays of different length.
    """
    arrays = read_npz(path)
    samples = {t.name: _checked(path, t, arrays) for t in inputs}
    counts = {name: len(array) for name, array in samples.items() if array.ndim}
    for name in samples.keys() - counts.keys():
        samples[name] = np.repeat(samples[name], max(counts.values(), default=1))
    if len(set(counts.values())) > 1:
        raise SpecError(f"{path}: inputs differ in their number of samples: {counts}")
    if 0 in counts.values():
        raise SpecError(f"{path}: holds no samples")
    return samples


def _checked(path: Path, tensor: Tensor, arrays: Feed) -> Array:
    array = arrays.get(tensor.name)
    if array is None:
        raise SpecError(
            f"{path}: has no array for input {tensor.name!r}, it has "
            f"{sorted(arrays) or 'none'}",
            hint=did_you_mean(tensor.name, arrays),
        )
    dtype = numpy_type(tensor)
    if tensor.dtype.item_bytes is None:
        dtype = np.dtype(object) if array.dtype.kind in "US" else dtype
    elif not np.can_cast(array.dtype, dtype, casting="same_kind"):
        raise SpecError(
            f"{path}: {tensor.name!r} is {array.dtype}, the input is {dtype}",
            hint=f"array.astype(numpy.{dtype})",
        )
    array = array.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.argwhere(~np.isfinite(np.atleast_1d(array)))[0][0])
        raise SpecError(
            f"{path}: {tensor.name!r} has NaN or Inf, first in sample {bad}"
        )
    return _joined(path, tensor, array)


def _joined(path: Path, tensor: Tensor, array: Array) -> Array:
    rank = len(tensor.shape)
    if _is_whole(tensor, array) or array.ndim == rank == 0:
        return array
    if array.ndim == rank + 1:
        found = array.shape[1:]
        # One whole input per sample: its own axis 0 joins the axis of samples.
        array = array.reshape(-1, *array.shape[2:]) if rank else array
    else:
        found = array.shape
    wanted = (DYNAMIC, *tensor.shape[1:])
    if array.ndim != max(rank, 1) or any(
        want not in (DYNAMIC, size)
        for want, size in zip(wanted, array.shape, strict=False)
    ):
        raise SpecError(
            f"{path}: {tensor.name!r} has shape {found}, the input is {tensor.shape}",
            hint="axis 0 is the samples; the others are the model's",
        )
    return array


def _is_whole(tensor: Tensor, array: Array) -> bool:
    """Say whether samples have to stay apart, and are of the input's shape."""
    shape = tensor.shape
    return (
        array.ndim == len(shape) + 1
        and bool(shape)
        and shape[0] not in (DYNAMIC, 1)
        and all(
            want in (DYNAMIC, size)
            for want, size in zip(shape, array.shape[1:], strict=True)
        )
    )


def fit(samples: Feed, shapes: Mapping[str, Shape], *, offset: int = 0) -> Feed:
    """Cut or repeat samples along every axis until they have the wanted shapes.

    `offset` is the sample to begin with. Sizes that match are left as they are.
    """
    fitted = {}
    for name, shape in shapes.items():
        array = samples[name]
        if not shape:  # a scalar: one value for the whole batch
            fitted[name] = np.asarray(array.flat[offset % array.size])
            continue
        is_whole = array.ndim > len(shape)
        if is_whole:
            array = array[offset % len(array)]
        for axis, size in enumerate(shape):
            start = offset if axis == 0 and not is_whole else 0
            if (axis == 0 and not is_whole) or array.shape[axis] != size:
                index = (np.arange(size) + start) % array.shape[axis]
                array = np.take(array, index, axis=axis)
        fitted[name] = array
    return fitted


def batches(samples: Feed, shapes: Mapping[str, Shape]) -> Iterator[Feed]:
    """Yield all samples in feeds of at most `shapes`' batch; every sample is in one.

    Only the last feed repeats samples, and only where the batch axis cannot shrink.
    """
    count = min((len(array) for array in samples.values()), default=0)
    rows = [
        shape[0]
        for name, shape in shapes.items()
        if shape and samples[name].ndim == len(shape)
    ]
    step = max(1, min(rows, default=1))
    for start in range(0, count, step):
        yield fit(samples, shapes, offset=start)


def random_feed(
    inputs: Sequence[Tensor],
    shapes: Mapping[str, Shape],
    rng: np.random.Generator,
    ranges: Mapping[str, tuple[float, float]],
) -> Feed:
    """Draw a feed: within the declared range of an input, else normal or small."""
    return {t.name: _value(t, shapes[t.name], rng, ranges.get(t.name)) for t in inputs}


def _value(
    tensor: Tensor,
    shape: Shape,
    rng: np.random.Generator,
    within: tuple[float, float] | None,
) -> Array:
    """Draw one input; those of transformers by the names that exporters give them."""
    dtype = numpy_type(tensor)
    if within is None and len(shape) == 2 and dtype.kind in "iu":
        if tensor.name == "position_ids":
            return np.broadcast_to(np.arange(shape[1], dtype=dtype), shape)
        if tensor.name == "attention_mask":
            lengths = rng.integers(1, shape[1] + 1, (shape[0], 1))
            return (np.arange(shape[1]) < lengths).astype(dtype)
        if tensor.name == "token_type_ids":
            return rng.integers(0, 2, shape).astype(dtype)
    return _draw(tensor, shape, rng, within)


def _draw(
    tensor: Tensor,
    shape: Shape,
    rng: np.random.Generator,
    within: tuple[float, float] | None,
) -> Array:
    dtype = numpy_type(tensor)
    if dtype.kind == "f":
        values = rng.uniform(*within, shape) if within else rng.standard_normal(shape)
        return np.asarray(values, dtype=dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    low, high = (int(within[0]), int(within[1]) + 1) if within else (0, INTEGER_LIMIT)
    drawn = rng.integers(low, high, shape)
    return (
        drawn.astype(str).astype(object) if dtype.kind == "O" else drawn.astype(dtype)
    )


def write_feed(feed: Feed, path: Path) -> list[str]:
    """Write a feed for a child process; return its names in the file's order."""
    write_arrays(path, list(feed.values()))
    return list(feed)


def write_arrays(path: Path, arrays: Sequence[Array]) -> None:
    """Write arrays by position, as numpy.savez does; texts become fixed-width ones.

    numpy.savez leaves its file open where the disk is full, and fails once more, on
    stderr, when that is collected.
    """
    with ZipFile(path, "w") as archive:
        for index, array in enumerate(arrays):
            plain = array.astype(str) if array.dtype == object else array
            with archive.open(f"arr_{index}.npy", "w", force_zip64=True) as file:
                np.save(file, plain, allow_pickle=False)


def read_feed(path: Path, names: Sequence[str]) -> Feed:
    """Read what `write_feed` wrote."""
    arrays = read_npz(path)
    feed = {name: arrays[f"arr_{index}"] for index, name in enumerate(names)}
    return {
        name: a.astype(object) if a.dtype.kind == "U" else a for name, a in feed.items()
    }
