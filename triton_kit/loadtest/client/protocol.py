"""The protocols a load can speak: for each, its control, transport and requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from triton_kit.errors import SpecError
from triton_kit.loadtest.client import check, decode
from triton_kit.loadtest.http.event_watch import EventForm
from triton_kit.loadtest.inputs.data import Inputs
from triton_kit.loadtest.loops.observed import ConnectionRenewal, ObservedTransport
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.request import Parameter, Request
from triton_kit.loadtest.transport_spec import OPENAI_ENDPOINTS
from triton_kit.triton.model import ModelInfo

if TYPE_CHECKING:
    from triton_kit.loadtest.client.control import Control, MemoryControl
    from triton_kit.loadtest.client.shared_memory import SharedMemory
    from triton_kit.loadtest.spec import PerfSpec


# A request from a model, the messages so far, the limit of tokens and further fields.
Ask = Callable[
    [ModelInfo, Sequence[Mapping[str, Any]], int | None, Mapping[str, Any]], Request
]

# A request from a model, its inputs, and parameters beside those of the spec.
Encode = Callable[[ModelInfo, Inputs, dict[str, Parameter]], Request]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How to ask, how to send, and how a request looks.

    With `is_stream` a response has any number of messages, which are read as one.
    `ask` encodes the messages of a chat, where the server takes those.
    """

    control: Control
    transport: Callable[[Reactor, bool], Transport]  # True keeps the responses
    encode: Encode
    decode: check.Decode
    compare_as: check.Form = check.whole
    is_stream: bool = False
    memory: SharedMemory | None = None
    ask: Ask | None = None


def protocol_of(spec: PerfSpec, *, streaming: bool = False) -> Protocol:
    """Return the protocol that `spec` names; imports only what it needs.

    With `streaming` each gRPC request is a stream of its own, with any number of
    messages; of HTTP only `generate_stream` has any.

    Raises:
        SpecError: the protocol has no such endpoint.
    """
    endpoint = spec.transport.endpoint
    if spec.protocol == "grpc":
        if endpoint != "infer":
            raise SpecError(f"{endpoint} is there over HTTP only", hint="-i http")
        return _grpc(spec, streaming)
    if endpoint in OPENAI_ENDPOINTS:
        return _openai(spec)
    return _http(spec) if endpoint == "infer" else _generate(spec)


def for_server(protocol: Protocol, index: int) -> Protocol:
    """Return the protocol with requests marked for one of several servers."""

    def encode(
        model: ModelInfo, inputs: Inputs, parameters: dict[str, Parameter]
    ) -> Request:
        return replace(protocol.encode(model, inputs, parameters), server=index)

    def ask(
        model: ModelInfo,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None,
        extra: Mapping[str, Any],
    ) -> Request:
        assert protocol.ask is not None
        request = protocol.ask(model, messages, max_tokens, extra)
        return replace(request, server=index)

    return replace(protocol, encode=encode, ask=protocol.ask and ask)


def _openai(spec: PerfSpec) -> Protocol:
    from triton_kit.loadtest.client.openai import OpenAiControl, openai_request
    from triton_kit.loadtest.http.openai_events import OPENAI_EVENTS

    def encode(model: ModelInfo, _inputs: Inputs, _: dict[str, Parameter]) -> Request:
        raise SpecError(f"model {model.name!r} takes prompts, no tensors")

    return Protocol(
        control=OpenAiControl(spec.address, headers=spec.headers),
        decode=decode.decode_events,
        is_stream=True,
        transport=lambda reactor, keep: _http1(
            spec, reactor, keep=keep, events=OPENAI_EVENTS
        ),
        encode=encode,
        ask=lambda model, messages, max_tokens, extra: openai_request(
            spec.address,
            spec.transport.endpoint,
            model.name,
            messages,
            max_tokens=max_tokens,
            extra={**spec.parameters, **extra},
            headers=spec.headers,
            compression=spec.transport.compression,
        ),
    )


def _memory(spec: PerfSpec, control: MemoryControl) -> SharedMemory | None:
    from triton_kit.loadtest.client.cuda_memory import CudaRegion
    from triton_kit.loadtest.client.shared_memory import SharedMemory, SystemRegion

    kind = spec.transport.shared_memory
    if kind == "none":
        return None
    region = CudaRegion(control) if kind == "cuda" else SystemRegion(control)
    return SharedMemory(region, output_bytes=spec.transport.output_bytes)


def _accepting(spec: PerfSpec, header: str) -> dict[str, str]:
    """Return the headers of each request, with what the server may compress with."""
    algorithm = spec.transport.accept_compression
    accepted = {} if algorithm == "none" else {header: algorithm}
    return accepted | dict(spec.headers)


def _http(spec: PerfSpec) -> Protocol:
    from triton_kit.loadtest.client.kserve_http import infer_request
    from triton_kit.triton.control_http import HttpControl

    address = spec.address
    control = HttpControl(address, headers=spec.headers)
    memory = _memory(spec, control)
    headers = _accepting(spec, "Accept-Encoding")
    return Protocol(
        control=control,
        decode=decode.decode_http,
        transport=lambda reactor, keep: _http1(spec, reactor, keep=keep),
        encode=lambda model, inputs, parameters: infer_request(
            address,
            model,
            inputs,
            inferences=spec.batch_size,
            version=spec.version,
            headers=headers,
            parameters=spec.parameters | parameters,
            compression=spec.transport.compression,
            memory=memory,
            is_json=spec.transport.tensor_format == "json",
        ),
        memory=memory,
    )


def _http1(
    spec: PerfSpec, reactor: Reactor, *, keep: bool, events: EventForm | None = None
) -> Transport:
    from triton_kit.loadtest.net.http1_transport import Http1Transport

    transport = Http1Transport(
        reactor, spec.address, keep_responses=keep, events=events
    )
    every = spec.transport.new_connection_every
    if every is None:
        return transport
    return ObservedTransport(transport, [ConnectionRenewal(transport.renew, every)])


def _generate(spec: PerfSpec) -> Protocol:
    from triton_kit.loadtest.client.generate import generate_request
    from triton_kit.triton.control_http import HttpControl

    address, endpoint = spec.address, spec.transport.endpoint
    is_stream = endpoint == "generate_stream"
    return Protocol(
        control=HttpControl(address, headers=spec.headers),
        decode=decode.decode_events if is_stream else decode.decode_generate,
        compare_as=check.joined if is_stream else check.flat,
        is_stream=is_stream,
        transport=lambda reactor, keep: _http1(
            spec, reactor, keep=keep, events=EventForm() if is_stream else None
        ),
        encode=lambda model, inputs, parameters: generate_request(
            address,
            model,
            inputs,
            endpoint=endpoint,
            version=spec.version,
            headers=spec.headers,
            parameters=spec.parameters | parameters,
            compression=spec.transport.compression,
        ),
    )


def _grpc(spec: PerfSpec, streaming: bool) -> Protocol:
    from triton_kit.loadtest.client.control_grpc import GrpcControl
    from triton_kit.loadtest.client.grpc_call import call_headers
    from triton_kit.loadtest.client.kserve_grpc import error_in_stream, infer_request
    from triton_kit.loadtest.net.http2_transport import Http2Transport

    address = spec.address
    headers = call_headers(
        address,
        "ModelStreamInfer" if streaming else "ModelInfer",
        _accepting(spec, "grpc-accept-encoding"),
        compression=spec.transport.compression,
    )
    control = GrpcControl(address, headers=spec.headers)
    memory = _memory(spec, control)
    return Protocol(
        control=control,
        decode=decode.decode_grpc_stream if streaming else decode.decode_grpc,
        compare_as=check.joined if streaming else check.whole,
        is_stream=streaming,
        transport=lambda reactor, keep: Http2Transport(
            reactor,
            address,
            connections=spec.connections,
            new_connection_every=spec.transport.new_connection_every,
            keep_responses=keep,
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
