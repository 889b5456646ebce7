"""KServe v2 inference over gRPC: protobuf messages and the headers they go with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from triton_kit.loadtest.client.shared_memory import Place, SharedMemory
from triton_kit.loadtest.http.compression import compressed
from triton_kit.loadtest.http.grpc_status import framed
from triton_kit.loadtest.inputs.data import Inputs
from triton_kit.loadtest.request import HeaderList, Parameter, Request
from triton_kit.triton.model import ModelInfo
from triton_kit.triton.tensor_bytes import to_bytes

# Field 1, a string: how a ModelStreamInferResponse with an error begins.
_ERROR_FIELD = b"\x0a"


def infer_request(
    headers: HeaderList,
    model: ModelInfo,
    inputs: Inputs,
    *,
    inferences: int,
    version: str = "",
    parameters: Mapping[str, Parameter] | None = None,
    compression: str = "none",
    memory: SharedMemory | None = None,
) -> Request:
    """Write one ModelInferRequest, with gRPC's prefix before it.

    Args:
        headers: what `call_headers` returned for `ModelInfer`.
        model: the model and the dtypes of its inputs.
        inputs: a value per input, batch axis included.
        inferences: the batch size, for the bookkeeping of the caller.
        version: ask for this version instead of the server's choice.
        parameters: of the request: priority, timeout, sequence_id and so on.
        compression: of the message; the headers must name the same.
        memory: where tensors go that the message is to leave out.
    """
    message = infer_message(model, inputs, version=version)
    if memory is not None:
        _move(message, memory, memory.place_outputs(model, inferences))
    for name, value in (parameters or {}).items():
        _set(message.parameters[name], value)
    body = compressed(message.SerializeToString(), compression)
    payload = framed(body, is_compressed=compression != "none")
    return Request(payload, inferences, headers)


def _set(
    parameter: Any,  # noqa: ANN401  a generated protobuf class
    value: Parameter,
) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    else:
        parameter.string_param = value


def infer_message(
    model: ModelInfo, inputs: Inputs, *, version: str = ""
) -> service_pb2.ModelInferRequest:
    """Build the message of one inference, tensors as raw bytes."""
    message = service_pb2.ModelInferRequest(
        model_name=model.name, model_version=version
    )
    for tensor in model.inputs:
        if tensor.name not in inputs:
            continue
        array = inputs[tensor.name]
        message.inputs.add(
            name=tensor.name, datatype=tensor.dtype.name, shape=array.shape
        )
        message.raw_input_contents.append(to_bytes(array, tensor.dtype))
    return message


def _move(
    message: service_pb2.ModelInferRequest,
    memory: SharedMemory,
    outputs: Mapping[str, Place],
) -> None:
    """Take the tensors out of a message, and point to where they are instead."""
    for tensor, data in zip(message.inputs, message.raw_input_contents, strict=True):
        for name, value in memory.place_input(data).parameters().items():
            _set(tensor.parameters[name], value)
    del message.raw_input_contents[:]
    for output, place in outputs.items():
        asked = message.outputs.add(name=output)
        for name, value in place.parameters().items():
            _set(asked.parameters[name], value)


def error_in_stream(message: bytes) -> str:
    """Return the error in a ModelStreamInferResponse; empty where it is a response."""
    if message[:1] != _ERROR_FIELD:
        return ""
    try:
        response = service_pb2.ModelStreamInferResponse.FromString(message)
    except DecodeError as error:
        return f"unreadable: {error}"
    text: str = response.error_message
    return text
