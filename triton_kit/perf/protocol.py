"""The protocols a load can speak: for each, its control, transport and requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triton_kit.errors import SpecError
from triton_kit.perf.check import Decode, decode_grpc, decode_http
from triton_kit.perf.data import Inputs
from triton_kit.perf.model import ModelInfo
from triton_kit.perf.reactor import Reactor
from triton_kit.perf.transport.base import Request, Transport
from triton_kit.perf.wire.kserve_http import Parameter

if TYPE_CHECKING:
    from triton_kit.perf.control import Control
    from triton_kit.perf.shared_memory import SharedMemory
    from triton_kit.perf.spec import PerfSpec


# A request from a model, its inputs, and parameters beside those of the spec.
Encode = Callable[[ModelInfo, Inputs, dict[str, Parameter]], Request]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How to ask, how to send, and how a request looks."""

    control: Control
    transport: Callable[[Reactor, bool], Transport]  # True keeps the answers
    encode: Encode
    decode: Decode
    memory: SharedMemory | None = None


def protocol_of(spec: PerfSpec, *, streaming: bool = False) -> Protocol:
    """Return the protocol that `spec` names; imports only what it needs.

    With `streaming` each request is a stream of its own, with any number of replies.

    Raises:
        SpecError: the protocol has no streams.
    """
    if spec.protocol == "grpc":
        return _grpc(spec, streaming)
    if streaming:
        raise SpecError(
            f"model {spec.model!r} may reply any number of times (decoupled), "
            "which HTTP cannot carry",
            hint="use -i grpc and the gRPC port",
        )
    return _http(spec)


def _memory(spec: PerfSpec, control: Control) -> SharedMemory | None:
    if spec.transport.shared_memory == "none":
        return None
    from triton_kit.perf.shared_memory import SharedMemory

    return SharedMemory(control, output_bytes=spec.transport.output_bytes)


def _http(spec: PerfSpec) -> Protocol:
    from triton_kit.perf.control_http import HttpControl
    from triton_kit.perf.transport.http1 import Http1Transport
    from triton_kit.perf.wire.kserve_http import infer_request

    address = spec.address
    control = HttpControl(address, headers=spec.headers)
    memory = _memory(spec, control)
    return Protocol(
        control=control,
        decode=decode_http,
        transport=lambda reactor, keep: Http1Transport(
            reactor, address, keep_answers=keep
        ),
        encode=lambda model, inputs, parameters: infer_request(
            address,
            model,
            inputs,
            inferences=spec.batch_size,
            version=spec.version,
            headers=spec.headers,
            parameters=spec.parameters | parameters,
            compression=spec.transport.compression,
            memory=memory,
        ),
        memory=memory,
    )


def _grpc(spec: PerfSpec, streaming: bool) -> Protocol:
    from triton_kit.perf.control_grpc import GrpcControl
    from triton_kit.perf.transport.http2 import Http2Transport
    from triton_kit.perf.wire.kserve_grpc import (
        call_headers,
        error_in_stream,
        infer_request,
    )

    address = spec.address
    headers = call_headers(
        address,
        "ModelStreamInfer" if streaming else "ModelInfer",
        spec.headers,
        compression=spec.transport.compression,
    )
    control = GrpcControl(address, headers=spec.headers)
    memory = _memory(spec, control)
    return Protocol(
        control=control,
        decode=decode_grpc,
        transport=lambda reactor, keep: Http2Transport(
            reactor,
            address,
            keep_answers=keep,
            error_in=error_in_stream if streaming else None,
        ),
        encode=lambda model, inputs, parameters: infer_request(
            headers,
            model,
            inputs,
            inferences=spec.batch_size,
            version=spec.version,
            parameters=spec.parameters | parameters,
            compression=spec.transport.compression,
            memory=memory,
        ),
        memory=memory,
    )
