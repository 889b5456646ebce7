"""KServe v2 inference over HTTP: JSON in front, tensors as bytes behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from triton_kit.loadtest.client.http_call import post
from triton_kit.loadtest.client.shared_memory import SharedMemory
from triton_kit.loadtest.inputs.data import Inputs
from triton_kit.loadtest.request import Parameter, Request
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
    """
    described: list[dict[str, object]] = []
    raw: list[bytes] = []
    for tensor in model.inputs:
        if tensor.name not in inputs:
            continue
        array = inputs[tensor.name]
        data = to_bytes(array, tensor.dtype)
        where: dict[str, str | int] = {"binary_data_size": len(data)}
        if memory is None:
            raw.append(data)
        else:
            where = memory.place_input(data).parameters()
        described.append(
            {
                "name": tensor.name,
                "datatype": tensor.dtype.name,
                "shape": list(array.shape),
                "parameters": where,
            }
        )
    fields: dict[str, object] = {
        "inputs": described,
        "parameters": {"binary_data_output": True, **(parameters or {})},
    }
    if memory is not None:
        fields["outputs"] = [
            {"name": name, "parameters": place.parameters()}
            for name, place in memory.place_outputs(model, inferences).items()
        ]
    front = json.dumps(fields, separators=(",", ":")).encode()
    request = post(
        address,
        f"{model_path(model.name, version)}/infer",
        {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(front)),
        },
        b"".join([front, *raw]),
        headers=headers,
        compression=compression,
    )
    return Request(request, inferences)
