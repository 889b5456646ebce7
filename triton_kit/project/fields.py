"""The short forms of triton-kit.yaml, written out as ModelConfig fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triton_kit.project.serving import (
    AcceleratorSpec,
    BatchingSpec,
    ControlSpec,
    InstanceSpec,
    OptimizationSpec,
    QueuePolicySpec,
    RateLimitSpec,
    SequenceSpec,
    VersionsSpec,
)
from triton_kit.project.spec import ModelSpec
from triton_kit.tensors import data_type
from triton_kit.triton.calls import CALLS_PARAMETER

Fields = dict[str, Any]  # JSON values by proto name: what a ModelConfig may hold

_FALSE_TRUE: dict[str, Fields] = {
    "int32": {"int32_false_true": [0, 1]},
    "fp32": {"fp32_false_true": [0.0, 1.0]},
    "bool": {"bool_false_true": [False, True]},
}


def config_fields(model: ModelSpec) -> Fields:
    """Return the ModelConfig fields of a model, by proto name.

    Fields under `config` take precedence over the short forms.
    Warm-up is not among them: it depends on the tensors.
    """
    fields: Fields = {"max_batch_size": 0}
    calls = {CALLS_PARAMETER: ",".join(model.calls)} if model.calls else {}
    if model.batching:
        fields |= _batching(model.batching, dynamic=model.sequence is None)
    fields |= _without_empty(
        instance_group=[_instance(group) for group in model.instances],
        version_policy=_versions(model.versions) if model.versions else None,
        sequence_batching=_sequence(model.sequence) if model.sequence else None,
        optimization=_optimization(model.optimization) if model.optimization else None,
        response_cache={"enable": True} if model.response_cache else None,
        model_transaction_policy={"decoupled": True} if model.decoupled else None,
        parameters={
            key: {"string_value": _text(value)}
            for key, value in (model.parameters | calls).items()
        },
    )
    return _merged(fields, model.config)


def _batching(spec: BatchingSpec, *, dynamic: bool) -> Fields:
    fields: Fields = {"max_batch_size": spec.max_batch_size}
    if not (spec.dynamic and dynamic):
        return fields
    batching = _without_empty(
        preferred_batch_size=list(spec.preferred),
        max_queue_delay_microseconds=spec.max_queue_delay_us,
        preserve_ordering=spec.preserve_ordering,
        priority_levels=spec.priority_levels,
        default_priority_level=spec.default_priority,
    )
    if spec.queue:
        batching["default_queue_policy"] = _queue_policy(spec.queue)
    if spec.queue_by_priority:
        batching["priority_queue_policy"] = {
            str(level): _queue_policy(policy)
            for level, policy in spec.queue_by_priority.items()
        }
    return fields | {"dynamic_batching": batching}


def _queue_policy(spec: QueuePolicySpec) -> Fields:
    return _without_empty(
        timeout_action=spec.timeout_action.upper(),
        default_timeout_microseconds=spec.timeout_us,
        allow_timeout_override=spec.allow_timeout_override,
        max_queue_size=spec.max_size,
    )


def _instance(spec: InstanceSpec) -> Fields:
    return _without_empty(
        kind=f"KIND_{spec.kind.upper()}",
        count=spec.count,
        gpus=list(spec.gpus),
        profile=list(spec.profile),
        host_policy=spec.host_policy,
        rate_limiter=_rate_limiter(spec.rate_limit) if spec.rate_limit else None,
    )


def _rate_limiter(spec: RateLimitSpec) -> Fields:
    resources = [
        _without_empty(name=r.name, count=r.count, **{"global": r.is_global})
        for r in spec.resources
    ]
    return _without_empty(resources=resources, priority=spec.priority)


def _versions(spec: VersionsSpec | str) -> Fields:
    if isinstance(spec, str):
        return {spec: {}}
    if spec.latest is not None:
        return {"latest": {"num_versions": spec.latest}}
    return {"specific": {"versions": list(spec.specific)}}


def _sequence(spec: SequenceSpec) -> Fields:
    strategy = _without_empty(
        max_candidate_sequences=spec.max_candidates,
        preferred_batch_size=list(spec.preferred),
        max_queue_delay_microseconds=spec.max_queue_delay_us,
        minimum_slot_utilization=spec.minimum_slot_utilization,
    )
    fields = _without_empty(
        max_sequence_idle_microseconds=spec.max_idle_us,
        iterative_sequence=spec.iterative,
        control_input=[
            {"name": control.input, "control": [_control(kind, control)]}
            for kind, control in spec.controls.items()
        ],
        state=[
            {
                "input_name": state.input,
                "output_name": state.output,
                "data_type": data_type(state.dtype).config,
                "dims": list(state.dims),
            }
            | (_zero_state(state.dtype, state.dims) if state.initial else {})
            for state in spec.states
        ],
    )
    return {spec.strategy: strategy} | fields


def _control(kind: str, spec: ControlSpec) -> Fields:
    values: Fields = {"data_type": data_type(spec.dtype).config}
    if kind != "corrid":  # the others are flags: a value for no, a value for yes
        values = _FALSE_TRUE[spec.dtype]
    return {"kind": f"CONTROL_SEQUENCE_{kind.upper()}", **values}


def _zero_state(dtype: str, dims: tuple[int, ...]) -> Fields:
    zeros = {
        "name": "zeros",
        "data_type": data_type(dtype).config,
        "dims": list(dims),
        "zero_data": True,
    }
    return {"initial_state": [zeros]}


def _optimization(spec: OptimizationSpec) -> Fields:
    fields = _without_empty(
        priority=""
        if spec.priority == "default"
        else f"PRIORITY_{spec.priority}".upper(),
        cuda=_without_empty(**spec.cuda.model_dump()) if spec.cuda else None,
        gather_kernel_buffer_threshold=spec.gather_kernel_buffer_threshold,
        eager_batching=spec.eager_batching,
        execution_accelerators=_without_empty(
            gpu_execution_accelerator=_accelerators(spec.gpu_accelerators),
            cpu_execution_accelerator=_accelerators(spec.cpu_accelerators),
        ),
    )
    if spec.graph_level is not None:
        fields["graph"] = {"level": spec.graph_level}
    for side in ("input_pinned_memory", "output_pinned_memory"):
        if (enable := getattr(spec, side)) is not None:
            fields[side] = {"enable": enable}
    return fields


def _accelerators(specs: tuple[AcceleratorSpec, ...]) -> list[Fields]:
    return [_without_empty(name=s.name, parameters=s.parameters) for s in specs]


def _text(value: str | int | float | bool) -> str:
    """Write a value as backends read it: `true`, not Python's `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_empty(**fields: object) -> Fields:
    """Leave out fields that have their default."""
    return {name: value for name, value in fields.items() if value}


def _merged(under: Fields, over: Mapping[str, Any]) -> Fields:
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[name] = _merged(below, value)
        else:
            merged[name] = value
    return merged
