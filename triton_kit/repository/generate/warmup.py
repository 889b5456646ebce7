"""Warm-up: requests that a model runs before it is ready, and the files they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.samples import read_npz
from triton_kit.tensors import DYNAMIC, DataType, Shape, data_type
from triton_kit.triton.schema import Message, ModelConfig, ModelInput

FOLDER = "warmup"  # where the server reads the files, inside the model's folder
GENERATED = ("zeros", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """Warm-up requests of some batch sizes, each sent `count` times.

    `source` is `zeros`, `random`, or an .npz by input name.
    """

    name: str
    source: str | Path
    batch_sizes: tuple[int, ...]
    count: int


def add_warmup(
    config: ModelConfig, warmup: Warmup, *, sizes: Mapping[str, Shape]
) -> dict[str, bytes]:
    """Add warm-up requests to a config; return the files they need.

    Args:
        config: the model's, with its inputs.
        warmup: the requests.
        sizes: the shape to use for inputs that vary, batch axis left out.

    Raises:
        SpecError: an input varies and has no size, or the samples do not fit.
    """
    largest = max(warmup.batch_sizes)
    if largest > max(config.max_batch_size, 1):
        raise SpecError(
            f"model {config.name!r}: warm-up {warmup.name!r} has batch size "
            f"{largest}, the model takes {config.max_batch_size}"
        )
    samples = read_samples(config, warmup)
    files: dict[str, bytes] = {}
    for batch_size in warmup.batch_sizes:
        is_one = len(warmup.batch_sizes) == 1
        request = config.model_warmup.add(
            name=warmup.name if is_one else f"{warmup.name}_{batch_size}",
            # 0 where the model has no batch axis: then the dims are the whole shape.
            batch_size=batch_size if config.max_batch_size else 0,
            count=warmup.count,
        )
        files |= _add_inputs(config, warmup, request, samples, sizes)
    return files


def _add_inputs(
    config: ModelConfig,
    warmup: Warmup,
    request: Message,
    samples: Mapping[str, NDArray[Any]],
    sizes: Mapping[str, Shape],
) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for tensor in config.input:
        if tensor.name not in samples and tensor.optional:
            continue
        entry = request.inputs[tensor.name]
        entry.data_type = tensor.data_type
        if isinstance(warmup.source, Path):
            values = _sample(config, tensor, samples[tensor.name], warmup.source)
            entry.dims.extend(values.shape)
            entry.input_data_file = f"{warmup.name}.{tensor.name}"
            files[f"{FOLDER}/{entry.input_data_file}"] = _raw(values)
            continue
        entry.dims.extend(_size(config, tensor, sizes))
        setattr(entry, _choice(tensor, warmup.source), True)
    return files


def _choice(tensor: ModelInput, source: str) -> str:
    """Return the field that makes the values; strings can only be empty ones."""
    is_text = tensor_dtype(tensor).item_bytes is None
    return "random_data" if source == "random" and not is_text else "zero_data"


def _size(config: ModelConfig, tensor: ModelInput, sizes: Mapping[str, Shape]) -> Shape:
    size = tuple(tensor.dims)
    if DYNAMIC not in size:
        return size
    if tensor.name not in sizes:
        raise SpecError(
            f"model {config.name!r}: input {tensor.name!r} varies ({list(size)}), "
            "warm-up needs its size",
            hint=f"give inputs.{tensor.name} its min, opt and max; opt is used",
        )
    return sizes[tensor.name]


def read_samples(config: ModelConfig, warmup: Warmup) -> dict[str, NDArray[Any]]:
    """Return the samples of a warm-up by input; none if the server generates them.

    Raises:
        SpecError: the file cannot be read, or lacks an input.
    """
    if not isinstance(warmup.source, Path):
        return {}
    found = read_npz(warmup.source)
    for tensor in config.input:
        if tensor.name not in found and not tensor.optional:
            raise SpecError(
                f"model {config.name!r}: {warmup.source} has no {tensor.name!r}",
                hint=did_you_mean(tensor.name, found),
            )
    return found


def _sample(
    config: ModelConfig, tensor: ModelInput, rows: NDArray[Any], source: Path
) -> NDArray[Any]:
    dtype = tensor_dtype(tensor)
    sample = rows[0] if rows.ndim and len(rows) else rows
    dims = tuple(tensor.dims)
    fits = len(dims) == sample.ndim and all(
        want in (DYNAMIC, have) for want, have in zip(dims, sample.shape, strict=True)
    )
    is_text = dtype.item_bytes is None and rows.dtype.kind in "SU"
    if not fits or not (is_text or rows.dtype == np.dtype(dtype.numpy)):
        raise SpecError(
            f"model {config.name!r}: {tensor.name!r} in {source} is {rows.dtype} "
            f"{rows.shape}, the model takes {dtype.name} {list(dims)} a sample"
        )
    return sample


def _raw(values: NDArray[Any]) -> bytes:
    if values.dtype.kind in "SU":
        from tritonclient.utils import serialize_byte_tensor  # slow to import

        return bytes(serialize_byte_tensor(values.astype(object)).item())
    return np.ascontiguousarray(values).tobytes()


def tensor_dtype(tensor: ModelInput) -> DataType:
    """Return the type of an input or output of a config."""
    kinds = ModelInput.DESCRIPTOR.fields_by_name["data_type"].enum_type
    return data_type(kinds.values_by_number[tensor.data_type].name)
