"""Prompts as inputs of Triton's models: those of vLLM, TensorRT-LLM and Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any  # JSON values

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.data import Array, Inputs
from triton_kit.tensors import DYNAMIC, Tensor
from triton_kit.triton.model import ModelInfo

# Names that the backends of vLLM and TensorRT-LLM have.
_TEXT, _LIMIT, _STREAM, _SAMPLING = (
    *("text_input", "max_tokens", "stream", "sampling_parameters"),
)
_STRINGS = "BYTES"


def prompt_inputs(
    model: ModelInfo, text: str, max_tokens: int | None, extra: Mapping[str, Any]
) -> Inputs:
    """Return the inputs of a request for one prompt, batch axis included.

    Args:
        model: its `text_input`, or its only string input, is the prompt.
        text: the prompt.
        max_tokens: goes to the input of that name, or into `sampling_parameters`.
        extra: further inputs, by name.

    Raises:
        SpecError: the model has no input for a prompt, or one that nothing sets.
    """
    known = {tensor.name: tensor for tensor in model.inputs}
    prompt = _prompt_input(model, known)
    values: dict[str, Any] = {prompt: text}
    if _STREAM in known:
        values[_STREAM] = True
    if max_tokens is not None:
        values |= _limit(model, known, max_tokens)
    for name, value in extra.items():
        if name not in known:
            raise SpecError(
                f"model {model.name!r} has no input {name!r}",
                hint=f"its inputs: {', '.join(sorted(known))}",
            )
        values[name] = value
    for name in known:
        if name not in values and name not in model.optional_inputs:
            raise SpecError(
                f"input {name!r} of {model.name!r} has no value",
                hint=f"--extra-inputs {name}:VALUE",
            )
    return {name: _array(model, known[name], value) for name, value in values.items()}


def _prompt_input(model: ModelInfo, known: Mapping[str, Tensor]) -> str:
    strings = [name for name, t in known.items() if t.dtype.name == _STRINGS]
    if _TEXT in strings:
        return _TEXT
    required = [name for name in strings if name not in model.optional_inputs]
    if len(required) != 1:
        found = ", ".join(required) or "none"
        raise SpecError(
            f"model {model.name!r} has no input {_TEXT!r}, and its string inputs are "
            f"{found}: which is the prompt is open"
        )
    return required[0]


def _limit(
    model: ModelInfo, known: Mapping[str, Tensor], max_tokens: int
) -> dict[str, Any]:
    if _LIMIT in known:
        return {_LIMIT: max_tokens}
    if _SAMPLING in known:  # vLLM's backend
        return {_SAMPLING: json.dumps({"max_tokens": max_tokens})}
    raise SpecError(
        f"--output-tokens {max_tokens}: model {model.name!r} has neither an input "
        f"{_LIMIT!r} nor {_SAMPLING!r}"
    )


def _array(model: ModelInfo, tensor: Tensor, value: object) -> Array:
    """Return a value in every place of the tensor's shape."""
    sizes = tuple(1 if size == DYNAMIC else size for size in tensor.shape)
    shape = model.request_shape(sizes, 1)
    if tensor.dtype.name == _STRINGS:
        text = value if isinstance(value, str) else json.dumps(value)
        array: Array = np.empty(shape, np.object_)
        array[...] = text.encode()
        return array
    try:
        return np.full(shape, value, tensor.dtype.numpy)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"input {tensor.name!r} cannot be {value!r}: {error}"
        ) from error
