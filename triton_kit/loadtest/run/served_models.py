"""The models that a measurement is about, and how to speak to each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from triton_kit.errors import SpecError, TritonKitError
from triton_kit.loadtest.client.control import Control
from triton_kit.loadtest.client.protocol import Protocol, for_server, protocol_of
from triton_kit.loadtest.loops.load import ScheduleLoad
from triton_kit.loadtest.loops.mix import deal
from triton_kit.loadtest.loops.observed import ResponseCheck
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.spread_transport import SpreadTransport
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.request import Failure, Request
from triton_kit.loadtest.run.request_source import RequestSource, encode_requests
from triton_kit.loadtest.run.tensor_format import choose_tensor_format
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.triton.model import ModelInfo, ServerInfo
from triton_kit.triton.refusals import NotServerError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model: what to send to it, how, and how the server describes it.

    `protocols` has one for each server.
    """

    spec: PerfSpec
    protocols: Sequence[Protocol]
    model: ModelInfo

    @property
    def protocol(self) -> Protocol:
        """How to speak to the first server."""
        return self.protocols[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModels:
    """All models of a measurement, their server, and models that they call.

    `spec` is the given one; it has sequences if the model or the user needs them.
    """

    spec: PerfSpec
    server: ServerInfo
    each: Sequence[ServedModel]
    composing: Sequence[str] = ()

    @property
    def protocol(self) -> Protocol:
        """How to speak to the server; requests are encoded by each model's own."""
        return self.each[0].protocol

    def transport(self, reactor: Reactor, *, keep: bool) -> Transport:
        """Return a transport to all servers; `keep` keeps the responses."""
        each = [p.transport(reactor, keep) for p in self.each[0].protocols]
        return each[0] if len(each) == 1 else SpreadTransport(each)

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the counters of a model, one entry per server and loaded version."""
        controls = [protocol.control for protocol in self.each[0].protocols]
        return [row for c in controls for row in c.statistics(name, version)]

    @property
    def names(self) -> list[str]:
        """The models, the steps of those that are pipelines, and those they call."""
        models = [served.model for served in self.each]
        inner = [name for model in models for name in (*model.steps, *model.calls)]
        names = [*(model.name for model in models), *inner, *self.composing]
        return list(dict.fromkeys(names))


def find_only_model(spec: PerfSpec) -> str:
    """Return the name of the only model that the server has ready.

    Raises:
        TransportError: no server listens at the URL, or not in this protocol.
        SpecError: it has none, or several.
    """
    control = protocol_of(spec).control
    server = control.server()
    names = sorted({entry.name for entry in control.index() if entry.is_ready})
    if len(names) == 1:
        return names[0]
    where = f"{server.name} at {spec.url}"
    if not names:
        raise SpecError(
            f"{where} has no model ready, or does not list its models",
            hint="name one: -m NAME",
        )
    raise SpecError(
        f"{where} has {len(names)} models: {', '.join(names)}",
        hint=f"choose one: -m {names[0]}",
    )


@contextmanager
def fetch_served_models(spec: PerfSpec) -> Iterator[ServedModels]:
    """Ask the server for the models of `spec`; yield them with their protocols.

    Raises:
        TransportError: no server listens at the URL, or not in this protocol.
        SpecError: the server has no such model, or it streams and HTTP cannot.
        ServerError: a model is not ready.
    """
    control = protocol_of(spec).control
    server, models = _fetch_from_all(spec)
    spec = _with_sequences(spec, models)
    for model in models:
        _check_carries(spec, model)
    spec = choose_tensor_format(spec, server, models[0])
    composing = [_called(control, word) for word in spec.composing]
    streaming = spec.streaming or any(model.is_decoupled for model in models)
    each = [
        ServedModel(
            spec=part, protocols=_protocols(part, streaming=streaming), model=model
        )
        for part, model in zip(spec.parts, models, strict=True)
    ]
    with ExitStack() as stack:
        for served in each:
            if served.protocol.memory is not None:
                stack.enter_context(served.protocol.memory)
        yield ServedModels(spec=spec, server=server, each=each, composing=composing)


def _protocols(spec: PerfSpec, *, streaming: bool) -> list[Protocol]:
    if not spec.more_urls:
        return [protocol_of(spec, streaming=streaming)]
    return [
        for_server(protocol_of(server, streaming=streaming), index)
        for index, server in enumerate(spec.servers)
    ]


def _fetch_from_all(spec: PerfSpec) -> tuple[ServerInfo, list[ModelInfo]]:
    """Ask every server; return what the first one said, as all must agree.

    Raises:
        SpecError: a server describes a model differently.
    """
    first, *others = (
        _fetch(server, protocol_of(server).control) for server in spec.servers
    )
    for server, (_, models) in zip(spec.servers[1:], others, strict=True):
        for mine, its in zip(first[1], models, strict=True):
            if replace(its, version=mine.version) != mine:
                raise SpecError(
                    f"{server.url} serves another model {mine.name!r} than {spec.url}: "
                    "its tensors, batch size or kind differ",
                    hint="servers that share a load must serve the same model",
                )
    return first


def _fetch(spec: PerfSpec, control: Control) -> tuple[ServerInfo, list[ModelInfo]]:
    """Ask for the server and its models; a gateway may forward only the latter.

    Raises:
        TransportError: neither is there.
    """
    try:
        server = control.server()
    except NotServerError as error:
        try:
            models = [
                _described(control, part.model, part.version) for part in spec.parts
            ]
        except TritonKitError:
            raise error from None
        return ServerInfo(name="", version=""), models
    return server, [
        _described(control, part.model, part.version) for part in spec.parts
    ]


def _described(control: Control, name: str, version: str = "") -> ModelInfo:
    """Ask for a model; a pipeline takes sequences and calls models as its steps do.

    A gateway may not forward questions about the steps: they count as stateless.
    """
    model = control.model(name, version)
    all_of_it = [model]
    for step in dict.fromkeys(model.steps):
        with suppress(TritonKitError):
            all_of_it.append(_described(control, step))
    return replace(
        model,
        is_sequence=any(one.is_sequence for one in all_of_it),
        calls=tuple(dict.fromkeys(call for one in all_of_it for call in one.calls)),
    )


def _with_sequences(spec: PerfSpec, models: Sequence[ModelInfo]) -> PerfSpec:
    """Decide whether there are sequences, if the user set no length."""
    if len(models) > 1 or (spec.sequences and spec.sequences.length):
        return spec
    wanted = spec.sequences or Sequences(seed=spec.seed)
    return replace(spec, sequences=wanted if models[0].is_sequence else None)


def _check_carries(spec: PerfSpec, model: ModelInfo) -> None:
    endpoint = spec.transport.endpoint
    if model.is_decoupled and spec.protocol == "http" and endpoint != "generate_stream":
        raise SpecError(
            f"model {model.name!r} may send any number of responses (decoupled), "
            "which HTTP cannot carry",
            hint="use -i grpc and the gRPC port, or --endpoint generate_stream",
        )


def _called(control: Control, word: str) -> str:
    """Return the name of a model that another calls; raises where there is none."""
    name, _, version = word.partition(":")
    return control.model(name, version).name


def encode_all_requests(
    models: ServedModels, weights: Sequence[int], *, seed: int
) -> RequestSource:
    """Encode every request of every model, and put them into an order.

    Raises:
        SpecError: the data, the shapes or the batch do not fit a model.
        ServerError: the server cannot share memory with this process.
    """
    sources = []
    for served in models.each:
        of_servers = [
            encode_requests(served.spec, served.model, protocol)
            for protocol in served.protocols
        ]
        sources.append(
            _in_turn(of_servers, once=_has_given_times(served.spec))
            if len(of_servers) > 1
            else of_servers[0]
        )
        if served.protocol.memory is not None:
            served.protocol.memory.register()
    if len(sources) == 1:
        return sources[0]
    part_of = {
        request: index
        for index, source in enumerate(sources)
        for request in source.requests
    }
    checks = [source.check for source in sources]
    return RequestSource(
        requests=deal([source.requests for source in sources], weights, seed=seed),
        check=_MixedResponseCheck(checks, part_of.__getitem__) if any(checks) else None,
        part_of=part_of,
    )


def _has_given_times(spec: PerfSpec) -> bool:
    """Whether the first input may belong to the first time, and so on."""
    return any(
        isinstance(load, ScheduleLoad) and not load.is_repeated for load in spec.loads
    )


def _in_turn(sources: Sequence[RequestSource], *, once: bool) -> RequestSource:
    """Return the requests of one model for each server, taken in turn.

    A sequence stays with the server of its slot.

    Args:
        sources: the same inputs, encoded for each server.
        once: send each input to the next server, instead of to every one.
    """
    of_slots = [s.sequence_source for s in sources if s.sequence_source is not None]
    checks = [source.check for source in sources]
    sessions = [source.sessions for source in sources if source.sessions is not None]
    return RequestSource(
        requests=_dealt([source.requests for source in sources], once=once),
        sequence_source=(lambda slot: of_slots[slot % len(of_slots)](slot))
        if of_slots
        else None,
        check=_MixedResponseCheck(checks, lambda request: request.server)
        if any(checks)
        else None,
        sessions=sessions[0].with_servers(sessions[1:]) if sessions else None,
    )


def _dealt(of_servers: Sequence[Sequence[Request]], *, once: bool) -> list[Request]:
    servers, inputs = len(of_servers), len(of_servers[0])
    if not once:
        return [of_servers[n % servers][n // servers] for n in range(inputs * servers)]
    # Until the first input is due at the first server again.
    count = math.lcm(inputs, servers)
    return [of_servers[n % servers][n % inputs] for n in range(count)]


class _MixedResponseCheck:
    """Compares a response with what is expected of its own model or server."""

    def __init__(
        self,
        checks: Sequence[ResponseCheck | None],
        part_of: Callable[[Request], int],
    ) -> None:
        self._checks = checks
        self._part_of = part_of

    def __call__(self, request: Request, response: bytes) -> Failure | None:
        check = self._checks[self._part_of(request)]
        return None if check is None else check(request, response)
