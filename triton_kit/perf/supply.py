"""The requests of a measurement, all encoded before the clock starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.perf.check import AnswerCheck
from triton_kit.perf.data import check_samples, random_inputs, sample_inputs
from triton_kit.perf.input_data import RANDOM, Step, batches, read_steps
from triton_kit.perf.model import ModelInfo, input_shapes
from triton_kit.perf.protocol import Protocol
from triton_kit.perf.sequences import Source, sequence_requests
from triton_kit.perf.spec import PerfSpec
from triton_kit.perf.transport.base import Request
from triton_kit.perf.wire.kserve_http import Parameter

# Different bytes in turn, so that no cache answers for the model; bounded in memory.
_DISTINCT_REQUESTS = 16
_REQUEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What is sent, and what must come back.

    Attributes:
        requests: taken in turn, where there are no sequences.
        source: the requests of each slot, where there are.
        check: holds answers against expected ones, where those are known.
    """

    requests: Sequence[Request]
    source: Source | None = None
    check: AnswerCheck | None = None


def supply_of(spec: PerfSpec, model: ModelInfo, protocol: Protocol) -> Supply:
    """Encode every request that `spec` asks for.

    Raises:
        SpecError: the data, the shapes or the batch do not fit the model.
    """
    model.check_batch_size(spec.batch_size)
    if model.is_sequence and spec.sequences is None:
        raise SpecError(
            f"model {model.name!r} keeps state between the requests of a sequence",
            hint="say how long sequences are: --sequence-length 20",
        )
    steps = _steps(spec, model)
    check = AnswerCheck(protocol.decode)

    def encode(place: int, parameters: dict[str, Parameter]) -> Request:
        step = steps[place]
        request = protocol.encode(model, step.inputs, parameters)
        check.expect(request, step.expected)
        return request

    _check_transport(spec, steps)
    sequences = spec.sequences
    if protocol.memory is not None and sequences is not None:
        for place in range(len(steps)):
            encode(place, {})  # their slots place the same inputs, but later
    if sequences is None:
        requests = [encode(place, {}) for place in range(len(steps))]
        return Supply(requests=requests, check=check if check else None)

    @cache
    def source(slot: int) -> Iterator[Request]:
        return sequence_requests(sequences, slot, len(steps), encode)

    has_answers = any(step.expected for step in steps)
    return Supply(requests=[], source=source, check=check if has_answers else None)


def _check_transport(spec: PerfSpec, steps: Sequence[Step]) -> None:
    """Refuse what cannot travel, or be held against what is expected, that way."""
    endpoint = spec.transport.endpoint
    has_expected = any(step.expected for step in steps)
    if endpoint != "infer" and spec.batch_size > 1:
        raise SpecError(f"{endpoint} takes one inference per request, so no -b")
    if endpoint != "infer" and has_expected:
        raise SpecError(f"answers of {endpoint} are not held against validation_data")
    in_memory = spec.transport.shared_memory != "none" and spec.transport.output_bytes
    if in_memory and has_expected:
        raise SpecError(
            "outputs in shared memory cannot be held against validation_data",
            hint="--output-shared-memory-size 0 leaves them in the answers",
        )


def _steps(spec: PerfSpec, model: ModelInfo) -> list[Step]:
    if spec.input_data == RANDOM or spec.samples:
        return _random_steps(spec, model)
    shapes = input_shapes(model, spec.shapes, batch_size=spec.batch_size, may_vary=True)
    return batches(read_steps(spec.input_data, model, shapes), model, spec.batch_size)


def _random_steps(spec: PerfSpec, model: ModelInfo) -> list[Step]:
    check_samples(model, spec.samples)
    sampled = {name: rows.shape[1:] for name, rows in spec.samples.items()}
    shapes = input_shapes(model, {**spec.shapes, **sampled}, batch_size=spec.batch_size)
    generator = np.random.default_rng(spec.seed)
    steps: list[Step] = []
    total_bytes = 0
    while len(steps) < _DISTINCT_REQUESTS and total_bytes < _REQUEST_BYTES:
        inputs = random_inputs(
            model, shapes, batch_size=spec.batch_size, generator=generator
        ) | sample_inputs(
            model,
            spec.samples,
            batch_size=spec.batch_size,
            first=len(steps) * spec.batch_size,
        )
        steps.append(Step(inputs=inputs))
        total_bytes += sum(array.nbytes for array in inputs.values())
    return steps
