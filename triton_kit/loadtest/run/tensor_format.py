"""How tensors travel over HTTP, where the server does not say what it takes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from triton_kit.errors import TransportError
from triton_kit.loadtest.client.protocol import protocol_of
from triton_kit.loadtest.run.request_source import input_steps
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.triton.http_client import ask
from triton_kit.triton.model import ModelInfo, ServerInfo


def choose_tensor_format(
    spec: PerfSpec, server: ServerInfo, model: ModelInfo
) -> PerfSpec:
    """Return the spec with `binary` or `json` in place of `auto`.

    A server that lists the extension gets binary tensors. Another one gets a request
    with binary tensors; if that fails, JSON, which every server of the protocol takes.

    Raises:
        SpecError: the data cannot be read, or do not fit the model.
    """
    transport = spec.transport
    if (
        spec.protocol == "grpc"
        or transport.endpoint != "infer"
        or transport.tensor_format != "auto"
    ):
        return spec
    is_binary = (
        server.has_binary_tensors
        or transport.shared_memory != "none"
        or spec.sequences is not None
        or _takes_binary(spec.parts[0], model)
    )
    chosen = replace(transport, tensor_format="binary" if is_binary else "json")
    return replace(spec, transport=chosen)


def _takes_binary(spec: PerfSpec, model: ModelInfo) -> bool:
    model.check_batch_size(spec.batch_size)
    inputs = input_steps(spec, model)[0].inputs
    request = protocol_of(spec).encode(model, inputs, {})
    with suppress(TransportError):
        response = ask(spec.address, request.payload, within_s=spec.request_timeout_s)
        return response.status == HTTPStatus.OK
    return False
