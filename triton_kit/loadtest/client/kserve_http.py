"""KServe v2 inference over HTTP: tensors as bytes behind a JSON front, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.client.http_call import json_values, post
from triton_kit.loadtest.client.shared_memory import SharedMemory
from triton_kit.loadtest.inputs.data import Array, Inputs
from triton_kit.loadtest.request import Parameter, Request
from triton_kit.tensors import DataType
from triton_kit.triton.address import Address
from triton_kit.triton.model import ModelInfo, model_path
from triton_kit.triton.tensor_bytes import to_bytes


def infer_request(
    address: Address,
    model: ModelInfo,
    inputs: Inputs,
    *,
    inferences: int,
    version: str = "",
    headers: Mapping[str, str] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    compression: str = "none",
    memory: SharedMemory | None = None,
    is_json: bool = False,
) -> Request:
    """Write one whole POST request, head and body.

    Args:
        address: whose Host header and path prefix to use.
        model: the model and the dtypes of its inputs.
        inputs: a value per input, batch axis included.
        inferences: the batch size, for the bookkeeping of the caller.
        version: ask for this version instead of the server's choice.
        headers: further headers, such as an API key.
        parameters: of the request: priority, timeout, sequence_id and so on.
        compression: of the body: none, gzip or deflate.
        memory: where tensors go that the body is to leave out.
        is_json: whether tensors are JSON, for servers without the binary extension.

    Raises:
        SpecError: an input has no form in JSON.
    """
    described, raw = _inputs(model, inputs, memory, is_json=is_json)
    front = json.dumps(
        _fields(model, described, parameters or {}, inferences, memory, is_json),
        separators=(",", ":"),
    ).encode()
    kind = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(front)),
    }
    request = post(
        address,
        f"{model_path(model.name, version)}/infer",
        {"Content-Type": "application/json"} if is_json else kind,
        b"".join([front, *raw]),
        headers=headers,
        compression=compression,
    )
    return Request(request, inferences)


def _fields(
    model: ModelInfo,
    described: list[dict[str, object]],
    parameters: Mapping[str, Parameter],
    inferences: int,
    memory: SharedMemory | None,
    is_json: bool,
) -> dict[str, object]:
    own: dict[str, Parameter] = {} if is_json else {"binary_data_output": True}
    fields: dict[str, object] = {"inputs": described}
    if asked := own | dict(parameters):
        fields["parameters"] = asked
    if memory is not None:
        fields["outputs"] = [
            {"name": name, "parameters": place.parameters()}
            for name, place in memory.place_outputs(model, inferences).items()
        ]
    return fields


def _inputs(
    model: ModelInfo, inputs: Inputs, memory: SharedMemory | None, *, is_json: bool
) -> tuple[list[dict[str, object]], list[bytes]]:
    """Return the description of each input, and the bytes that follow the JSON."""
    described: list[dict[str, object]] = []
    raw: list[bytes] = []
    for tensor in model.inputs:
        if tensor.name not in inputs:
            continue
        array = inputs[tensor.name]
        content: dict[str, Any]
        if is_json:
            content = {"data": _as_json(tensor.name, tensor.dtype, array)}
        elif memory is None:
            raw.append(to_bytes(array, tensor.dtype))
            content = {"parameters": {"binary_data_size": len(raw[-1])}}
        else:
            place = memory.place_input(to_bytes(array, tensor.dtype))
            content = {"parameters": place.parameters()}
        described.append(
            {
                "name": tensor.name,
                "datatype": tensor.dtype.name,
                "shape": list(array.shape),
                **content,
            }
        )
    return described, raw


def _as_json(name: str, dtype: DataType, array: Array) -> list[Any]:
    """Return the values of a tensor in their order, as every v2 server reads them."""
    if dtype.name == "BF16":
        raise SpecError(
            f"input {name!r} is BF16, which JSON cannot carry",
            hint="--tensor-format binary, or -i grpc",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SpecError(
            f"input {name!r} has values that are not finite, which JSON cannot carry",
            hint="--tensor-format binary, or -i grpc",
        )
    return json_values(name, array)
