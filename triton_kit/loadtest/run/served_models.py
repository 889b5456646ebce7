"""The models that a measurement is about, and how to speak to each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from triton_kit.errors import SpecError, TritonKitError
from triton_kit.loadtest.client.control import Control
from triton_kit.loadtest.client.protocol import Protocol, protocol_of
from triton_kit.loadtest.loops.mix import deal
from triton_kit.loadtest.loops.observed import ResponseCheck
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.request import Failure, Request
from triton_kit.loadtest.run.request_source import RequestSource, encode_requests
from triton_kit.loadtest.run.tensor_format import choose_tensor_format
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.triton.model import ModelInfo, ServerInfo
from triton_kit.triton.refusals import NotServerError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model: what to send to it, how, and how the server describes it."""

    spec: PerfSpec
    protocol: Protocol
    model: ModelInfo


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

    @property
    def names(self) -> list[str]:
        """The models, the steps of those that are pipelines, and those they call."""
        models = [served.model for served in self.each]
        steps = [step for model in models for step in model.steps]
        names = [*(model.name for model in models), *steps, *self.composing]
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
        raise SpecError(f"{where} has no model ready, or does not list its models")
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
    server, models = _fetch(spec, control)
    spec = _with_sequences(spec, models)
    for model in models:
        _check_carries(spec, model)
    spec = choose_tensor_format(spec, server, models[0])
    composing = [_called(control, word) for word in spec.composing]
    streaming = spec.streaming or any(model.is_decoupled for model in models)
    each = [
        ServedModel(
            spec=part, protocol=protocol_of(part, streaming=streaming), model=model
        )
        for part, model in zip(spec.parts, models, strict=True)
    ]
    with ExitStack() as stack:
        for served in each:
            if served.protocol.memory is not None:
                stack.enter_context(served.protocol.memory)
        yield ServedModels(spec=spec, server=server, each=each, composing=composing)


def _fetch(spec: PerfSpec, control: Control) -> tuple[ServerInfo, list[ModelInfo]]:
    """Ask for the server and its models; a gateway may forward only the latter.

    Raises:
        TransportError: neither is there.
    """
    try:
        server = control.server()
    except NotServerError as error:
        try:
            models = [control.model(part.model, part.version) for part in spec.parts]
        except TritonKitError:
            raise error from None
        return ServerInfo(name="", version=""), models
    return server, [control.model(part.model, part.version) for part in spec.parts]


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
        sources.append(encode_requests(served.spec, served.model, served.protocol))
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
        check=_MixedResponseCheck(checks, part_of) if any(checks) else None,
        part_of=part_of,
    )


class _MixedResponseCheck:
    """Compares a response with what is expected of its own model."""

    def __init__(
        self, checks: Sequence[ResponseCheck | None], part_of: dict[Request, int]
    ) -> None:
        self._checks = checks
        self._part_of = part_of

    def __call__(self, request: Request, response: bytes) -> Failure | None:
        check = self._checks[self._part_of[request]]
        return None if check is None else check(request, response)
