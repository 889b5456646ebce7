"""The requests of a measurement, all encoded before the clock starts."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.client.check import OutputCheck
from triton_kit.loadtest.client.protocol import Protocol
from triton_kit.loadtest.inputs.choice import Choice, choose, steps_from_files
from triton_kit.loadtest.inputs.data import (
    Draw,
    check_samples,
    drawn_inputs,
    sample_inputs,
)
from triton_kit.loadtest.inputs.shapes import input_shapes
from triton_kit.loadtest.inputs.steps import InputStep, batches, shape_of
from triton_kit.loadtest.llm.sessions import Sessions
from triton_kit.loadtest.llm.source import encode_generations
from triton_kit.loadtest.loops.observed import ResponseCheck
from triton_kit.loadtest.loops.sequences import SequenceSource, make_sequence_source
from triton_kit.loadtest.request import Parameter, Request
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.tensors import DYNAMIC, Shape
from triton_kit.triton.model import ModelInfo

# Different bytes in turn, so that no cache responds for the model; bounded in memory.
_DISTINCT_REQUESTS = 16
_REQUEST_BYTES = 64 * 1024 * 1024
_LARGEST_INPUT_BYTES = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSource:
    """The requests to send, and the expected responses.

    Attributes:
        requests: taken in turn, where there are no sequences.
        sequence_source: the requests of each slot, where there are.
        check: compares responses with expected ones, where those are known.
        part_of: whose request each is, where there are several models.
        sessions: conversations with a language model, if they have several turns.
    """

    requests: Sequence[Request]
    sequence_source: SequenceSource | None = None
    check: ResponseCheck | None = None
    part_of: Mapping[Request, int] = field(default_factory=dict)
    sessions: Sessions | None = None


def encode_requests(
    spec: PerfSpec,
    model: ModelInfo,
    protocol: Protocol,
    given: Sequence[InputStep] | None = None,
) -> RequestSource:
    """Encode every request that `spec` asks for, or those with `given` inputs.

    Raises:
        SpecError: the data, the shapes or the batch do not fit the model.
    """
    if spec.generation is not None:
        found = encode_generations(spec, model, protocol)
        return RequestSource(requests=found.requests, sessions=found.sessions)
    model.check_batch_size(spec.batch_size)
    if model.is_sequence and spec.sequences is None:
        raise SpecError(
            f"model {model.name!r} keeps state between the requests of a sequence",
            hint="measure it alone",
        )
    described = _with_joined_outputs(model) if protocol.is_stream else model
    steps = input_steps(spec, described) if given is None else given
    check = OutputCheck(protocol.decode, protocol.compare_as)

    def encode(place: int, parameters: dict[str, Parameter]) -> Request:
        step = steps[place]
        request = protocol.encode(model, step.inputs, parameters)
        check.expect(request, step.expected)
        return request

    _check_transport(spec, steps, protocol)
    sequences = spec.sequences
    if protocol.memory is not None and sequences is not None:
        for place in range(len(steps)):
            encode(place, {})  # their slots place the same inputs, but later
    if sequences is None:
        requests = [encode(place, {}) for place in range(len(steps))]
        return RequestSource(requests=requests, check=check if check else None)

    sequence_source = make_sequence_source(
        sequences, len(steps), encode, _streams(steps)
    )
    has_expected = any(step.expected for step in steps)
    return RequestSource(
        requests=[],
        sequence_source=sequence_source,
        check=check if has_expected else None,
    )


def _streams(steps: Sequence[InputStep]) -> list[range]:
    """Return the places of each stream; none where the data has no streams."""
    streams, first = [], 0
    for stream, members in itertools.groupby(steps, operator.attrgetter("stream")):
        count = len(list(members))
        if stream is not None:
            streams.append(range(first, first + count))
        first += count
    return streams


def _with_joined_outputs(model: ModelInfo) -> ModelInfo:
    """Say that an output is as long as all responses of a stream together."""
    outputs = (replace(tensor, shape=(DYNAMIC,)) for tensor in model.outputs)
    return replace(model, outputs=tuple(outputs))


def _check_transport(
    spec: PerfSpec, steps: Sequence[InputStep], protocol: Protocol
) -> None:
    """Refuse data that this transport cannot carry, or responses it cannot check."""
    endpoint = spec.transport.endpoint
    has_expected = any(step.expected for step in steps)
    if endpoint != "infer" and spec.batch_size > 1:
        raise SpecError(f"{endpoint} takes one inference per request, so no -b")
    if protocol.is_stream and has_expected and spec.batch_size > 1:
        raise SpecError(
            "streams are held against validation_data one inference at a time",
            hint="leave out -b",
        )
    has_region = spec.transport.shared_memory != "none"
    if has_region and spec.transport.output_bytes != 0 and has_expected:
        raise SpecError(
            "outputs in shared memory cannot be held against validation_data",
            hint="--output-shared-memory-size 0 leaves them in the responses",
        )


def input_steps(spec: PerfSpec, model: ModelInfo) -> list[InputStep]:
    """Return the inputs of each request, with the batch axis.

    Raises:
        SpecError: the data cannot be read, or do not fit the model.
    """
    words = (spec.input_data,) if isinstance(spec.input_data, str) else spec.input_data
    choice = choose(words, model, spec.string_data)
    check_samples(model, spec.samples)
    shapes = input_shapes(model, spec.shapes, batch_size=spec.batch_size, may_vary=True)
    if not choice.paths and not choice.files:
        return _drawn_steps(spec, model, choice, shapes)
    if spec.samples:
        raise SpecError("samples and files of input data do not go together")
    steps = steps_from_files(choice, model, shapes)
    generator = np.random.default_rng(spec.seed)
    shapes = _shapes_of(choice.draws, model, shapes, spec.batch_size)
    for place, step in enumerate(steps):
        drawn = {
            name: draw(shapes[name], generator) for name, draw in choice.draws.items()
        }
        steps[place] = replace(step, inputs={**step.inputs, **drawn})
    return batches(steps, model, spec.batch_size)


def _drawn_steps(
    spec: PerfSpec, model: ModelInfo, choice: Choice, shapes: Mapping[str, Shape]
) -> list[InputStep]:
    draws = {n: draw for n, draw in choice.draws.items() if n not in spec.samples}
    shapes = _shapes_of(draws, model, shapes, spec.batch_size)
    generator = np.random.default_rng(spec.seed)
    most = _DISTINCT_REQUESTS if choice.varies or spec.samples else 1
    steps: list[InputStep] = []
    total_bytes = 0
    while len(steps) < most and total_bytes < _REQUEST_BYTES:
        inputs = drawn_inputs(
            model, draws, shapes, batch_size=spec.batch_size, generator=generator
        ) | sample_inputs(
            model,
            spec.samples,
            batch_size=spec.batch_size,
            first=len(steps) * spec.batch_size,
        )
        steps.append(InputStep(inputs=inputs))
        total_bytes += sum(array.nbytes for array in inputs.values())
    return steps


def _shapes_of(
    draws: Mapping[str, Draw],
    model: ModelInfo,
    shapes: Mapping[str, Shape],
    batch_size: int,
) -> dict[str, Shape]:
    drawn = [tensor for tensor in model.inputs if tensor.name in draws]
    found = {tensor.name: shape_of(tensor, shapes) for tensor in drawn}
    for tensor in drawn:
        size = math.prod(found[tensor.name]) * (tensor.dtype.item_bytes or 1)
        if size * batch_size > _LARGEST_INPUT_BYTES:
            raise SpecError(
                f"input {tensor.name!r} of shape {list(found[tensor.name])} takes "
                f"{size * batch_size / 2**30:,.1f} GiB of a request",
                hint="random data and zeros are made up to 2 GiB, which gRPC can carry",
            )
    return found
