"""Reading the outputs out of responses, whatever protocol they came by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.http.compression import expanded
from triton_kit.loadtest.http.grpc_status import message_of, messages_of
from triton_kit.loadtest.inputs.data import Array
from triton_kit.tensors import DataType, data_type
from triton_kit.triton.tensor_bytes import from_bytes

# What JSON of another layout makes the reading of it raise.
_NOT_AS_AGREED = (AttributeError, KeyError, TypeError, OverflowError, SpecError)
_GZIP, _ZLIB = b"\x1f", b"\x78"


def decode_http(response: bytes) -> dict[str, Array]:
    """Read the outputs of a KServe v2 HTTP response: binary tensors, or JSON.

    Raises:
        ValueError: it is not one.
    """
    response = _plain(response)
    # Latin-1 keeps a character per byte, so that positions stay what they are.
    _, at = _first_json(response.decode("latin-1"))
    front = json.loads(response[:at])
    outputs: dict[str, Array] = {}
    try:
        for output in front.get("outputs", []):
            dtype = data_type(output["datatype"])
            size = (output.get("parameters") or {}).get("binary_data_size")
            if size is None:
                array = _from_json(output["data"], dtype)
            else:
                array = from_bytes(response[at : at + size], dtype)
                at += size
            outputs[output["name"]] = array.reshape(output["shape"])
    except _NOT_AS_AGREED as error:
        raise ValueError(f"not the JSON of a response: {error!r}") from error
    return outputs


def _from_json(data: Any, dtype: DataType) -> Array:  # noqa: ANN401  any JSON value
    array: Array = np.array(data, dtype.numpy)
    if dtype.item_bytes is not None:
        return array
    texts: Array = np.empty(array.size, np.object_)
    texts[:] = [text.encode() for text in array.ravel()]
    return texts


def _plain(response: bytes) -> bytes:
    """Expand a compressed response; no JSON begins as those do."""
    return expanded(response) if response[:1] in (_GZIP, _ZLIB) else response


def decode_generate(response: bytes) -> dict[str, Array]:
    """Read a response of `generate`: plain JSON, each output a value or a list.

    Raises:
        ValueError: it is not one.
    """
    text = _plain(response).decode()
    event, end = _first_json(text, len(text) - len(text.lstrip()))
    if text[end:].strip():
        raise ValueError(f"more than one JSON value: {text[end:]!r:.80}")
    return _from_fields([event])


def decode_events(response: bytes) -> dict[str, Array]:
    """Read the events of `generate_stream`, one after another, as one response.

    Raises:
        ValueError: one of them is no JSON object.
    """
    text = response.decode().rstrip()
    events, at = [], 0
    while at < len(text):
        while text[at].isspace():
            at += 1
        event, at = _first_json(text, at)
        events.append(event)
    return _from_fields(events)


def _first_json(text: str, at: int = 0) -> tuple[Any, int]:
    """Read one JSON value; return it and where it ends. Raises ValueError."""
    try:
        return json.JSONDecoder().raw_decode(text, at)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deep") from error


def _from_fields(events: Sequence[Any]) -> dict[str, Array]:
    """Join the fields of JSON objects, event after event."""
    columns: dict[str, list[Any]] = {}
    for event in events:
        if not isinstance(event, dict):
            raise ValueError(f"no JSON object: {event!r:.80}")  # noqa: TRY004
        for name, value in event.items():
            column = columns.setdefault(name, [])
            column += value if isinstance(value, list) else [value]
    return {name: _as_array(column) for name, column in columns.items()}


def _as_array(values: list[Any]) -> Array:
    if all(isinstance(value, str) for value in values):
        array: Array = np.empty(len(values), np.object_)
        array[:] = [value.encode() for value in values]
        return array
    return np.array(values)


def decode_grpc(response: bytes) -> dict[str, Array]:
    """Read the outputs of a ModelInferResponse with raw contents.

    Raises:
        ValueError: it is not one.
    """
    from tritonclient.grpc import service_pb2

    return _outputs(_parsed(service_pb2.ModelInferResponse, message_of(response)))


def decode_grpc_stream(response: bytes) -> dict[str, Array]:
    """Read the outputs of all ModelStreamInferResponses as one response, flat.

    Raises:
        ValueError: one of them is none.
    """
    from tritonclient.grpc import service_pb2

    columns: dict[str, list[Array]] = {}
    for message in messages_of(response):
        parsed = _parsed(service_pb2.ModelStreamInferResponse, message)
        for name, array in _outputs(parsed.infer_response).items():
            columns.setdefault(name, []).append(array.ravel())
    return {name: np.concatenate(column) for name, column in columns.items()}


def _parsed(kind: Any, data: bytes) -> Any:  # noqa: ANN401  generated classes
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def _outputs(response: Any) -> dict[str, Array]:  # noqa: ANN401  a generated class
    raws = response.raw_output_contents or [None] * len(response.outputs)
    try:
        return {
            output.name: _values(output, raw).reshape(output.shape)
            for output, raw in zip(response.outputs, raws, strict=True)
        }
    except SpecError as error:
        raise ValueError(error.message) from error


def _values(output: Any, raw: bytes | None) -> Array:  # noqa: ANN401  generated
    """Return the values of an output, which are bytes or a list of the message."""
    dtype = data_type(output.datatype)
    if raw is not None:
        return from_bytes(raw, dtype)
    filled = [values for _, values in output.contents.ListFields()]
    array: Array = np.empty(len(filled[0]) if filled else 0, dtype.numpy)
    array[:] = filled[0] if filled else []
    return array
