"""Models wired by tensor names become an ensemble; every edge is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.tensors import DYNAMIC, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One model of a pipeline; maps its tensor names to the pipeline's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _End:
    """One end of an edge: a model's tensor, with its whole shape."""

    model: str
    tensor: str
    data_type: int
    shape: Shape

    def __str__(self) -> str:
        kind = DataType.Name(self.data_type)
        return f"{self.tensor!r} of {self.model!r} ({kind} {list(self.shape)})"


@dataclass(slots=True)
class _Wiring:
    """Who writes and who reads each tensor of the pipeline."""

    written: dict[str, _End] = field(default_factory=dict)
    read: dict[str, list[_End]] = field(default_factory=dict)


def ensemble_config(
    name: str,
    *,
    steps: Sequence[Step],
    outputs: Sequence[str],
    configs: Mapping[str, ModelConfig],
) -> ModelConfig:
    """Return the ModelConfig of a pipeline.

    Tensors that no step writes are its inputs. Its types and shapes are those of the
    models; it batches as far as the least of them.

    Raises:
        SpecError: a model or tensor is missing, written twice, unused, read in a
            circle, or differs in type or shape from what reads it.
    """
    wiring = _wire(name, steps, configs)
    _check_outputs(name, outputs, wiring)
    _check_edges(name, wiring)
    _check_circle(name, steps)
    batch = min(configs[step.model].max_batch_size for step in steps)
    config = ModelConfig(name=name, platform="ensemble", max_batch_size=batch)
    for tensor, readers in wiring.read.items():
        if tensor not in wiring.written:
            end = readers[0]
            dims = _dims(end.shape, batch)
            config.input.add(name=tensor, data_type=end.data_type, dims=dims)
    for tensor in outputs:
        end = wiring.written[tensor]
        dims = _dims(end.shape, batch)
        config.output.add(name=tensor, data_type=end.data_type, dims=dims)
    for step in steps:
        config.ensemble_scheduling.step.add(
            model_name=step.model,
            model_version=-1,
            input_map=dict(step.inputs),
            output_map=dict(step.outputs),
        )
    return config


def _wire(
    name: str, steps: Sequence[Step], configs: Mapping[str, ModelConfig]
) -> _Wiring:
    wiring = _Wiring()
    for step in steps:
        if step.model not in configs:
            raise SpecError(
                f"pipeline {name!r} names model {step.model!r}, which is not there",
                hint=did_you_mean(step.model, configs),
            )
        config = configs[step.model]
        needed = {i.name for i in config.input if not i.optional}
        if unmapped := sorted(needed - step.inputs.keys()):
            raise SpecError(
                f"pipeline {name!r}: nothing is wired to input {unmapped[0]!r} "
                f"of {step.model!r}"
            )
        for tensor, edge in step.inputs.items():
            end = _end(name, config, "input", tensor)
            wiring.read.setdefault(edge, []).append(end)
        for tensor, edge in step.outputs.items():
            end = _end(name, config, "output", tensor)
            if edge in wiring.written:
                raise SpecError(
                    f"pipeline {name!r}: {edge!r} is written twice: by "
                    f"{wiring.written[edge]} and by {end}"
                )
            wiring.written[edge] = end
    return wiring


def _end(pipeline: str, config: ModelConfig, kind: str, tensor: str) -> _End:
    entries = {entry.name: entry for entry in getattr(config, kind)}
    if tensor not in entries:
        raise SpecError(
            f"pipeline {pipeline!r}: model {config.name!r} has no {kind} {tensor!r}",
            hint=did_you_mean(tensor, entries),
        )
    batch = (DYNAMIC,) if config.max_batch_size > 0 else ()
    entry = entries[tensor]
    return _End(config.name, tensor, entry.data_type, (*batch, *entry.dims))


def _check_outputs(name: str, outputs: Sequence[str], wiring: _Wiring) -> None:
    for tensor in outputs:
        if tensor not in wiring.written:
            raise SpecError(
                f"pipeline {name!r}: no step writes the output {tensor!r}",
                hint=did_you_mean(tensor, wiring.written),
            )
    for tensor, end in wiring.written.items():
        if tensor not in wiring.read and tensor not in outputs:
            raise SpecError(
                f"pipeline {name!r}: {tensor!r}, written by {end}, is never used",
                hint="drop it from the step's outputs, or add it to the pipeline's",
            )


def _check_edges(name: str, wiring: _Wiring) -> None:
    for tensor, readers in wiring.read.items():
        first = wiring.written.get(tensor, readers[0])
        for reader in readers:
            if first.data_type != reader.data_type or not _agree(
                first.shape, reader.shape
            ):
                raise SpecError(
                    f"pipeline {name!r}: {tensor!r} joins {first} to {reader}, "
                    "which differ"
                )


def _agree(left: Shape, right: Shape) -> bool:
    return len(left) == len(right) and all(
        DYNAMIC in pair or pair[0] == pair[1] for pair in zip(left, right, strict=True)
    )


def _check_circle(name: str, steps: Sequence[Step]) -> None:
    """Take away steps whose inputs are there until none is left to take."""
    waiting = list(steps)
    while waiting:
        missing = {tensor for step in waiting for tensor in step.outputs.values()}
        ready = [s for s in waiting if not missing & set(s.inputs.values())]
        if not ready:
            models = ", ".join(repr(step.model) for step in waiting)
            raise SpecError(f"pipeline {name!r}: {models} wait for each other")
        waiting = [step for step in waiting if step not in ready]


def _dims(shape: Shape, batch: int) -> Shape:
    return shape[1:] if batch > 0 else shape
