"""What a form says becomes one request; the response becomes text."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any  # JSON has no type of its own

import numpy as np
from numpy.typing import NDArray

from triton_kit.errors import SpecError, TritonKitError
from triton_kit.loadtest.run.served_models import fetch_served_models
from triton_kit.loadtest.run.single_request import Inference, Output, send_one
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.tensors import Tensor
from triton_kit.triton.model import ModelInfo

_MOST_VALUES = 200
_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the form says.

    Attributes:
        server: `host:port` of HTTP.
        model: name of the model.
        texts: input -> JSON values; an empty text is random values.
        files: input -> content of a file, one string element.
    """

    server: str
    model: str
    texts: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Responded:
    """The response, or why there is none."""

    title: str
    outputs: tuple[tuple[str, str, str], ...] = ()
    error: str = ""
    hint: str = ""


def send(asked: Asked) -> Responded:
    """Send one request and wait for its response."""
    try:
        return _shown(_sent(asked))
    except TritonKitError as error:
        return Responded(
            title="No response", error=error.message, hint=error.hint or ""
        )


def _sent(asked: Asked) -> Inference:
    if not asked.server:
        raise SpecError("no server is named", hint="type its address: localhost:8000")
    if not asked.model:
        raise SpecError("no model is named", hint="choose one")
    spec = PerfSpec(url=asked.server, model=asked.model, request_timeout_s=_WITHIN_S)
    with fetch_served_models(spec) as served:
        model = served.each[0].model
        inputs = _inputs(asked, model)
        if not inputs:
            _require_sizes(model)
        return send_one(served, inputs or None, within_s=_WITHIN_S)


def _require_sizes(model: ModelInfo) -> None:
    """Refuse random values where their number is not known."""
    for tensor in model.inputs:
        if any(size < 0 for size in tensor.shape):
            raise SpecError(
                f"input {tensor.name!r} has an axis of any size: random values "
                "would need one",
                hint="type values",
            )


def _inputs(asked: Asked, model: ModelInfo) -> dict[str, NDArray[Any]]:
    given = {name: text for name, text in asked.texts.items() if text.strip()}
    arrays = {}
    for tensor in model.inputs:
        if content := asked.files.get(tensor.name):
            arrays[tensor.name] = _with_shape(_strings([content]), tensor, model)
        elif tensor.name in given:
            values = _values(given[tensor.name], tensor)
            arrays[tensor.name] = _with_shape(values, tensor, model)
    missing = [t.name for t in model.inputs if t.name not in arrays]
    required = [name for name in missing if name not in model.optional_inputs]
    if arrays and required:
        raise SpecError(
            f"input {required[0]!r} has no values, while another one has",
            hint="fill in all inputs, or none for random values",
        )
    return arrays


def _values(text: str, tensor: Tensor) -> NDArray[Any]:
    """Read JSON values; bare words are one string."""
    is_string = tensor.dtype.name == "BYTES"
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        if is_string:
            return _strings([text.encode()])
        raise SpecError(
            f"input {tensor.name!r}: expected JSON, found {text[:40]!r}: {error}",
            hint="[[1, 2, 3]] for instance",
        ) from error
    if is_string:
        return _string_array(values, tensor)
    try:
        return _numbers(np.array(values), tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise SpecError(
            f"input {tensor.name!r}: expected numbers of {tensor.dtype.name}: {error}",
            hint="nested lists, whose rows are equally long",
        ) from error


def _numbers(array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """Return numbers as the input has them; bfloat16 travels as words."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"found {array.dtype}")
    if tensor.dtype.name == "BF16":
        words: NDArray[Any] = array.astype(np.float32).view(np.uint32) >> 16
        return words.astype(np.uint16)
    return array.astype(tensor.dtype.numpy)


def _string_array(values: Any, tensor: Tensor) -> NDArray[Any]:  # noqa: ANN401  JSON
    """Return strings with the shape of their lists; `{"base64": ...}` is bytes."""
    shape: list[int] = []
    level = values
    while isinstance(level, list) and level:
        shape.append(len(level))
        level = level[0]
    try:
        items = [_string(item) for item in _flat(values)]
        return _strings(items).reshape(shape or [1])
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise SpecError(
            f"input {tensor.name!r}: expected strings: {error}",
            hint='["text"], or [{"base64": "aGk="}] for bytes',
        ) from error


def _flat(values: Any) -> list[Any]:  # noqa: ANN401  JSON
    if not isinstance(values, list):
        return [values]
    return [item for part in values for item in _flat(part)]


def _string(item: Any) -> bytes:  # noqa: ANN401  JSON
    if isinstance(item, dict):
        return base64.b64decode(str(item["base64"]), validate=True)
    return item.encode() if isinstance(item, str) else json.dumps(item).encode()


def _strings(items: list[bytes]) -> NDArray[Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _with_shape(values: NDArray[Any], tensor: Tensor, model: ModelInfo) -> NDArray[Any]:
    """Give the values the model's shape where they leave axes out, as a list does."""
    wanted = (*((1,) if model.has_batch_axis else ()), *tensor.shape)
    if values.ndim == len(wanted):
        return values
    if values.ndim == len(tensor.shape):
        return values[np.newaxis]
    if sum(size < 0 for size in wanted) > 1:
        return values
    try:
        return values.reshape(wanted)
    except ValueError:
        return values  # the server says what is wrong


def _shown(result: Inference) -> Responded:
    responses = "" if result.responses == 1 else f", {result.responses} responses"
    version = f" version {result.version}" if result.version else ""
    title = (
        f"{result.model}{version} responded in {result.latency_ms:.1f} ms{responses}"
    )
    outputs = tuple(
        (name, f"{output.datatype} {list(output.values.shape)}", _text(output))
        for name, output in result.outputs.items()
    )
    return Responded(title=title, outputs=outputs)


def _text(output: Output) -> str:
    count = output.values.size
    if count <= _MOST_VALUES:
        return json.dumps(output.plain(), ensure_ascii=False)
    first = json.dumps(output.plain(most=_MOST_VALUES), ensure_ascii=False)
    return f"{first[:-1]}, ... {count - _MOST_VALUES} more]"
