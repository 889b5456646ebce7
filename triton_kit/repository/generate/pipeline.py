"""Models wired by tensor names become an ensemble, checked as the server checks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # JSON values by proto name

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.repository.check.folder import ModelFolder
from triton_kit.repository.check.rules.case import Case, Problem
from triton_kit.repository.check.rules.ensemble import check_ensemble
from triton_kit.repository.check.rules.outcome import Outcome
from triton_kit.repository.check.rules.wiring import check_wiring
from triton_kit.repository.check.target import Target
from triton_kit.repository.generate.config import config_from_fields
from triton_kit.tensors import DYNAMIC, Shape
from triton_kit.triton.schema import Message, ModelConfig

NEWEST = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One model of a pipeline; maps its tensor names to the pipeline's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    version: int = NEWEST


@dataclass(slots=True)
class _Wiring:
    """Which tensor of which model writes and reads each tensor of the pipeline."""

    written: dict[str, tuple[ModelConfig, Message]] = field(default_factory=dict)
    read: dict[str, list[tuple[ModelConfig, Message]]] = field(default_factory=dict)


def ensemble_config(
    name: str,
    *,
    steps: Sequence[Step],
    outputs: Sequence[str],
    configs: Mapping[str, ModelConfig],
    fields: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """Return the ModelConfig of a pipeline.

    Tensors that no step writes are its inputs; one that every reader may do without is
    optional. Types and shapes are those of the models. It batches as far as every step
    does, unless `fields` sets `max_batch_size`.

    Args:
        name: the pipeline's name.
        steps: its models.
        outputs: the tensors that it returns.
        configs: the configs of the models, by name.
        fields: other fields of its ModelConfig by their proto names, as JSON values.

    Raises:
        SpecError: a model or tensor is missing, or the server would refuse the
            ensemble.
    """
    config = config_from_fields(name, fields or {})
    wiring = _wire(name, steps, configs)
    _require_written(name, outputs, wiring)
    config.name, config.platform = name, "ensemble"
    if "max_batch_size" not in (fields or {}):
        config.max_batch_size = min(configs[s.model].max_batch_size for s in steps)
    for tensor, readers in wiring.read.items():
        if tensor not in wiring.written:
            entry = config.input.add(**_described(tensor, *readers[0], config))
            entry.optional = all(reader.optional for _, reader in readers)
    for tensor in outputs:
        config.output.add(**_described(tensor, *wiring.written[tensor], config))
    for step in steps:
        config.ensemble_scheduling.step.add(
            model_name=step.model,
            model_version=step.version,
            input_map=dict(step.inputs),
            output_map=dict(step.outputs),
        )
    _check(config, configs)
    return config


def _require_written(name: str, outputs: Sequence[str], wiring: _Wiring) -> None:
    for tensor in outputs:
        if tensor not in wiring.written:
            raise SpecError(
                f"pipeline {name!r}: no step writes the output {tensor!r}",
                hint=did_you_mean(tensor, wiring.written),
            )


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
        for tensor, edge in step.inputs.items():
            end = config, _entry(name, config, "input", tensor)
            wiring.read.setdefault(edge, []).append(end)
        for tensor, edge in step.outputs.items():
            end = config, _entry(name, config, "output", tensor)
            wiring.written.setdefault(edge, end)
        needed = {i.name for i in config.input if not i.optional}
        if unmapped := sorted(needed - step.inputs.keys()):
            raise SpecError(
                f"pipeline {name!r}: nothing is wired to input {unmapped[0]!r} "
                f"of {step.model!r}"
            )
    return wiring


def _entry(pipeline: str, config: ModelConfig, kind: str, tensor: str) -> Message:
    entries = {entry.name: entry for entry in getattr(config, kind)}
    if tensor not in entries:
        raise SpecError(
            f"pipeline {pipeline!r}: model {config.name!r} has no {kind} {tensor!r}",
            hint=did_you_mean(tensor, entries),
        )
    return entries[tensor]


def _described(
    name: str, model: ModelConfig, tensor: Message, pipeline: ModelConfig
) -> dict[str, Any]:
    batch = (DYNAMIC,) if model.max_batch_size > 0 else ()
    shape: Shape = (*batch, *tensor.dims)
    dims = shape[1:] if pipeline.max_batch_size > 0 else shape
    return {"name": name, "data_type": tensor.data_type, "dims": dims}


def _check(config: ModelConfig, configs: Mapping[str, ModelConfig]) -> None:
    """Refuse what the server would refuse, by the rules of the check.

    Raises:
        SpecError: with the first problem.
    """
    problem = next(_problems(config, configs), None)
    if problem is not None:
        raise SpecError(
            f"pipeline {config.name!r}: {problem.message or problem.server_text}",
            hint=problem.hint,
        )


def _problems(
    config: ModelConfig, configs: Mapping[str, ModelConfig]
) -> Iterator[Problem]:
    case = _case(config)
    problems = list(check_ensemble(case))
    yield from problems
    if not problems:
        outcomes = {
            name: Outcome(
                case=_case(one),
                is_decoupled=one.model_transaction_policy.decoupled,
            )
            for name, one in configs.items()
        }
        yield from check_wiring(case, outcomes)


def _case(config: ModelConfig) -> Case:
    folder = ModelFolder(Path(config.name), config.name)
    return Case(folder, parsed=None, config=config, target=Target())
