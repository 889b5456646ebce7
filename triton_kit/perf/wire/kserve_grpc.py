"""KServe v2 inference over gRPC: protobuf messages and the headers they go with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tritonclient.grpc import service_pb2

from triton_kit.perf.address import Address
from triton_kit.perf.data import Inputs
from triton_kit.perf.model import ModelInfo
from triton_kit.perf.shared_memory import Place, SharedMemory
from triton_kit.perf.transport.base import HeaderList, Request
from triton_kit.perf.wire.compression import compressed
from triton_kit.perf.wire.grpc_status import framed
from triton_kit.perf.wire.tensor_bytes import to_bytes

_SERVICE = "inference.GRPCInferenceService"


def call_headers(
    address: Address,
    method: str,
    headers: Mapping[str, str] | None = None,
    *,
    compression: str = "none",
) -> HeaderList:
    """Return the header fields of a call of Triton's service."""
    own = (
        (":method", "POST"),
        (":scheme", "https" if address.tls else "http"),
        (":path", f"/{_SERVICE}/{method}"),
        (":authority", address.authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "triton-kit"),
    )
    further = ((name.lower(), value) for name, value in (headers or {}).items())
    encoding = () if compression == "none" else (("grpc-encoding", compression),)
    return HeaderList((*own, *encoding, *further))


def infer_request(
    headers: HeaderList,
    model: ModelInfo,
    inputs: Inputs,
    *,
    inferences: int,
    version: str = "",
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
        compression: of the message; the headers must say the same.
        memory: where tensors go that the message is to leave out.
    """
    if memory is None:
        built = infer_message(model, inputs, version=version)
    else:
        built = _pointing_message(model, inputs, memory, inferences, version)
    message = built.SerializeToString()
    is_compressed = compression != "none"
    payload = framed(compressed(message, compression), is_compressed=is_compressed)
    return Request(payload, inferences, headers)


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


def _pointing_message(
    model: ModelInfo,
    inputs: Inputs,
    memory: SharedMemory,
    inferences: int,
    version: str,
) -> service_pb2.ModelInferRequest:
    """Build the message of one inference whose tensors lie in shared memory."""
    message = infer_message(model, inputs, version=version)
    for tensor, data in zip(message.inputs, message.raw_input_contents, strict=True):
        _point(tensor.parameters, memory.place_input(data))
    del message.raw_input_contents[:]
    for name, place in memory.place_outputs(model, inferences).items():
        _point(message.outputs.add(name=name).parameters, place)
    return message


def _point(parameters: Any, place: Place) -> None:  # noqa: ANN401  protobuf's map
    for name, value in place.parameters().items():
        if isinstance(value, str):
            parameters[name].string_param = value
        else:
            parameters[name].int64_param = value
