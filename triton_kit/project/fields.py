"""The short forms of triton-kit.yaml, written out as ModelConfig fields."""

from __future__ import annotations

from typing import Any

from triton_kit.project.spec import (
    BatchingSpec,
    InstanceSpec,
    ModelSpec,
    QueuePolicySpec,
)

Fields = dict[str, Any]  # JSON values by proto name: what a ModelConfig may hold


def config_fields(model: ModelSpec) -> Fields:
    """Return the ModelConfig fields of a model, by proto name.

    What the model says under `config` stands over what its short forms stand for.
    """
    fields: Fields = {"max_batch_size": 0}
    if model.batching:
        fields |= _batching(model.batching)
    if model.instances:
        fields["instance_group"] = [_instance(group) for group in model.instances]
    return _merged(fields, model.config)


def _batching(spec: BatchingSpec) -> Fields:
    fields: Fields = {"max_batch_size": spec.max_batch_size}
    if not spec.dynamic:
        return fields
    dynamic: Fields = _without_empty(
        preferred_batch_size=list(spec.preferred),
        max_queue_delay_microseconds=spec.max_queue_delay_us,
        preserve_ordering=spec.preserve_ordering,
        priority_levels=spec.priority_levels,
        default_priority_level=spec.default_priority,
    )
    if spec.queue:
        dynamic["default_queue_policy"] = _queue_policy(spec.queue)
    if spec.queue_by_priority:
        dynamic["priority_queue_policy"] = {
            str(level): _queue_policy(policy)
            for level, policy in spec.queue_by_priority.items()
        }
    return fields | {"dynamic_batching": dynamic}


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
    )


def _without_empty(**fields: object) -> Fields:
    """Leave out what the reader of config.pbtxt would not miss."""
    return {name: value for name, value in fields.items() if value}


def _merged(under: Fields, over: Fields) -> Fields:
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[name] = _merged(below, value)
        else:
            merged[name] = value
    return merged
