"""The fields of a model's configuration that may be tuned: how each is read and set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any  # JSON

from google.protobuf import json_format

from triton_kit.errors import SpecError
from triton_kit.repository.generate.config import config_from_fields
from triton_kit.triton.schema import ModelConfig
from triton_kit.tuning.space import Value

# A ModelConfig as JSON, by proto names.
Config = dict[str, Any]
CONCURRENCY, BATCH_SIZE, REQUEST_RATE = "concurrency", "batch_size", "request_rate"
LOAD_FIELDS = (CONCURRENCY, BATCH_SIZE, REQUEST_RATE)
# Settings of the conversion, which no configuration has.
PRECISION, BUILDER = "precision", "builder."
# The value of a field that is not set.
UNSET = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownField:
    """A field with a short name.

    Attributes:
        read: returns its value in a configuration; UNSET where it has none.
        write: sets it in a configuration.
    """

    read: Callable[[Config], Value]
    write: Callable[[Config, Value], None]


def _instances(config: Config) -> Value:
    groups = config.get("instance_group") or [{}]
    return int(groups[0].get("count") or 1)


def _set_instances(config: Config, value: Value) -> None:
    for group in config.setdefault("instance_group", [{}]):
        group["count"] = value


def instance_total(config: Config) -> int:
    """Return how many instances run: those of a group run on each of its GPUs."""
    return sum(
        int(group.get("count") or 1) * max(1, len(group.get("gpus") or ()))
        for group in config.get("instance_group") or [{}]
    )


def _set_max_batch_size(config: Config, value: Value) -> None:
    """Set it, without the preferred sizes that are larger: Triton refuses those."""
    config["max_batch_size"] = value
    batching = config.get("dynamic_batching") or {}
    if sizes := batching.get("preferred_batch_size"):
        batching["preferred_batch_size"] = fitting(sizes, value)


def fitting(sizes: Iterable[Any], largest: Value) -> list[int]:
    """Return the batch sizes that are not too large."""
    most = largest if isinstance(largest, int) else 0
    return [size for size in map(int, sizes) if size <= most]


def _queue_delay(config: Config) -> Value:
    batching = config.get("dynamic_batching")
    if batching is None:
        return UNSET
    return int(batching.get("max_queue_delay_microseconds") or 0)


def _set_queue_delay(config: Config, value: Value) -> None:
    if value is UNSET:
        config.pop("dynamic_batching", None)
    else:
        batching = config.setdefault("dynamic_batching", {})
        batching["max_queue_delay_microseconds"] = str(value)


def _preferred(config: Config) -> Value:
    batching = config.get("dynamic_batching") or {}
    return tuple(map(int, batching.get("preferred_batch_size") or ()))


def _set_preferred(config: Config, value: Value) -> None:
    sizes = list(value) if isinstance(value, tuple) else [value]
    batching = config.get("dynamic_batching")
    if batching is None and not sizes:
        return
    config.setdefault("dynamic_batching", {})["preferred_batch_size"] = sizes


def _threads(config: Config) -> Value:
    parameter = config.get("parameters", {}).get("intra_op_thread_count", {})
    return int(parameter.get("string_value") or 0)


def _set_threads(config: Config, value: Value) -> None:
    parameters = config.setdefault("parameters", {})
    if value:
        parameters["intra_op_thread_count"] = {"string_value": str(value)}
    else:
        parameters.pop("intra_op_thread_count", None)


def with_threads(config: Config, count: int) -> Config:
    """Return a configuration in which ONNX Runtime does not choose its threads."""
    if config.get("backend") != "onnxruntime" or _threads(config):
        return config
    changed = copy.deepcopy(config)
    _set_threads(changed, count)
    return changed


def _graph_level(config: Config) -> Value:
    graph = (config.get("optimization") or {}).get("graph") or {}
    return int(graph.get("level") or 0)


def _set_graph_level(config: Config, value: Value) -> None:
    config.setdefault("optimization", {}).setdefault("graph", {})["level"] = value


KNOWN = {
    "instances": KnownField(read=_instances, write=_set_instances),
    "max_batch_size": KnownField(
        read=lambda config: int(config.get("max_batch_size") or 0),
        write=_set_max_batch_size,
    ),
    "queue_delay_us": KnownField(read=_queue_delay, write=_set_queue_delay),
    "preferred": KnownField(read=_preferred, write=_set_preferred),
    "threads": KnownField(read=_threads, write=_set_threads),
    "graph_level": KnownField(read=_graph_level, write=_set_graph_level),
}
# Before what depends on it: preferred sizes need the batcher that a delay makes.
_ORDER = tuple(KNOWN)


def is_conversion(field: str) -> bool:
    """Whether a field is of the model's conversion, not of its configuration."""
    return field == PRECISION or field.startswith(BUILDER)


def read_field(config: Config, name: str) -> Value:
    """Return the value of a field: a short name, or a path such as `a.0.b`."""
    if name in KNOWN:
        return KNOWN[name].read(config)
    inside: Any = config
    for key in name.split("."):
        inside = _inner(inside, key)
    if isinstance(inside, Mapping) and set(inside) == {"string_value"}:
        inside = inside["string_value"]
    return as_value(inside)


def as_value(found: Any) -> Value:  # noqa: ANN401  JSON
    """Return JSON as a value that can be compared; an object is none."""
    if isinstance(found, list):
        return tuple(map(as_value, found))
    return None if isinstance(found, Mapping) else found


def _inner(inside: Any, key: str) -> Any:  # noqa: ANN401  JSON
    if isinstance(inside, list):
        is_there = key.isdigit() and int(key) < len(inside)
        return inside[int(key)] if is_there else None
    return inside.get(key) if isinstance(inside, Mapping) else None


def with_settings(model: str, config: Config, settings: Mapping[str, Value]) -> Config:
    """Return a configuration with fields set; those of a conversion are left out.

    Raises:
        SpecError: ModelConfig has no such field, or not such a value.
    """
    changed = copy.deepcopy(config)
    for name in sorted(settings, key=_place):
        if is_conversion(name):
            continue
        if name in KNOWN:
            KNOWN[name].write(changed, settings[name])
        else:
            _write_path(model, changed, name, settings[name])
    config_from_fields(model, changed)
    return changed


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def as_config(message: ModelConfig) -> Config:
    """Return the fields that a configuration has, without those at their default."""
    fields: Config = json_format.MessageToDict(
        message, preserving_proto_field_name=True
    )
    return fields


def with_served_lists(
    model: str, written: Config, served: Config, fields: Iterable[str]
) -> Config:
    """Return a written configuration that has the lists whose items fields name.

    A list that is not in the file is the one that the server made, without what it
    filled in for its own machine.
    """
    tops = {name.partition(".")[0] for name in fields} - written.keys()
    lists = {top: served[top] for top in tops if isinstance(served.get(top), list)}
    message = config_from_fields(model, lists)
    for group in message.instance_group:
        group.ClearField("name")
        group.ClearField("gpus")
    return {**written, **as_config(message)}


def _write_path(model: str, config: Config, name: str, value: Value) -> None:
    *keys, last = name.split(".")
    inside: Any = config
    for key in keys:
        found = _inner(inside, key)
        if found is None:
            if isinstance(inside, list):
                raise SpecError(
                    f"model {model!r}: field {name!r}: there is no item {key!r}",
                    hint=f"items are counted from 0; there are {len(inside)}",
                )
            found = inside[key] = {}
        inside = found
    plain: Any = list(value) if isinstance(value, tuple) else value
    if keys == ["parameters"]:
        plain = {"string_value": str(value)}
    if isinstance(inside, list) and last.isdigit() and int(last) < len(inside):
        inside[int(last)] = plain
    elif isinstance(inside, dict):
        inside[last] = plain
    else:
        raise SpecError(f"model {model!r}: there is no field {name!r} to set")
