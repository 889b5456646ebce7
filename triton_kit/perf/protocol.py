"""The protocols a load can speak: for each, its control, transport and requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triton_kit.perf.check import Decode, decode_grpc, decode_http
from triton_kit.perf.data import Inputs
from triton_kit.perf.model import ModelInfo
from triton_kit.perf.reactor import Reactor
from triton_kit.perf.transport.base import Request, Transport

if TYPE_CHECKING:
    from triton_kit.perf.control import Control
    from triton_kit.perf.shared_memory import SharedMemory
    from triton_kit.perf.spec import PerfSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How to ask, how to send, and how a request looks."""

    control: Control
    transport: Callable[[Reactor, bool], Transport]  # True keeps the answers
    encode: Callable[[ModelInfo, Inputs], Request]
    decode: Decode
    memory: SharedMemory | None = None


def protocol_of(spec: PerfSpec) -> Protocol:
    """Return the protocol that `spec` names; imports only what it needs."""
    return _grpc(spec) if spec.protocol == "grpc" else _http(spec)


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
        encode=lambda model, inputs: infer_request(
            address,
            model,
            inputs,
            inferences=spec.batch_size,
            version=spec.version,
            headers=spec.headers,
            compression=spec.transport.compression,
            memory=memory,
        ),
        memory=memory,
    )


def _grpc(spec: PerfSpec) -> Protocol:
    from triton_kit.perf.control_grpc import GrpcControl
    from triton_kit.perf.transport.http2 import Http2Transport
    from triton_kit.perf.wire.kserve_grpc import call_headers, infer_request

    address = spec.address
    headers = call_headers(
        address, "ModelInfer", spec.headers, compression=spec.transport.compression
    )
    control = GrpcControl(address, headers=spec.headers)
    memory = _memory(spec, control)
    return Protocol(
        control=control,
        decode=decode_grpc,
        transport=lambda reactor, keep: Http2Transport(
            reactor, address, keep_answers=keep
        ),
        encode=lambda model, inputs: infer_request(
            headers,
            model,
            inputs,
            inferences=spec.batch_size,
            version=spec.version,
            compression=spec.transport.compression,
            memory=memory,
        ),
        memory=memory,
    )
