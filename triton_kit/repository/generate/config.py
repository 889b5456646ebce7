"""Fields by their proto names, and a model's tensors, become a ModelConfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.repository.config.values import is_map
from triton_kit.tensors import DYNAMIC, Shape, Tensor
from triton_kit.triton.schema import FieldType, ModelConfig


def model_config(
    name: str,
    *,
    backend: str,
    fields: Mapping[str, Any],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> ModelConfig:
    """Return the ModelConfig of one model.

    `fields` are ModelConfig's by proto name, as JSON values. The tensors have whole
    shapes: with `max_batch_size` the batch axis is taken off; where it is the only one,
    dims are `[1]`, reshaped to none. Tensors that `fields` has stay as they are there.

    Raises:
        SpecError: a field does not exist or has a wrong value; a tensor's first axis
            cannot be the batch.
    """
    config = config_from_fields(name, fields)
    config.name = name
    config.backend = config.backend or backend
    for kind, tensors in (("input", inputs), ("output", outputs)):
        entries = getattr(config, kind)
        if entries:
            continue
        for tensor in _from_clients(config, kind, tensors):
            dims = tensor.shape
            if config.max_batch_size > 0:
                dims = _without_batch(name, tensor, config.max_batch_size)
            _check_dims(name, tensor.name, dims)
            # Every tensor needs dims: one value, where its shape has no axis left.
            entry = entries.add(
                name=tensor.name, data_type=tensor.dtype.config, dims=dims or (1,)
            )
            if tensor.shape and not dims:
                entry.reshape.SetInParent()  # to no axis: the model's shape is [batch]
    return config


def _from_clients(
    config: ModelConfig, kind: str, tensors: Sequence[Tensor]
) -> list[Tensor]:
    """Leave out what the server itself fills in or keeps.

    Those are sequence controls, states and batch inputs; the onnxruntime backend
    refuses a model that has them in `input` as well.
    """
    batching = config.sequence_batching
    own = {getattr(state, f"{kind}_name") for state in batching.state}
    if kind == "input":
        own |= {control.name for control in batching.control_input}
        own |= {name for item in config.batch_input for name in item.target_name}
    left = [tensor for tensor in tensors if tensor.name not in own]
    # A model that only computes its next state still has to return something.
    return left or list(tensors)


def config_from_fields(name: str, fields: Mapping[str, Any]) -> ModelConfig:
    """Return the ModelConfig that has these fields, by their proto names.

    Raises:
        SpecError: a field does not exist, or its value is of another type.
    """
    config = ModelConfig()
    _check_names(name, fields, ModelConfig.DESCRIPTOR, "config")
    try:
        json_format.ParseDict(dict(fields), config)
    except json_format.ParseError as error:
        raise SpecError(f"model {name!r}: config: {error}") from error
    return config


def _check_names(model: str, fields: object, kind: Descriptor, where: str) -> None:
    """Refuse a field that a message does not have, at any depth."""
    if isinstance(fields, list):
        for item in fields:
            _check_names(model, item, kind, where)
    if not isinstance(fields, Mapping):
        return
    known = kind.fields_by_name
    for name, value in fields.items():
        if name not in known:
            raise SpecError(
                f"model {model!r}: {where} has no field {str(name)!r}",
                hint=did_you_mean(str(name), known),
            )
        inner, inside = _message_in(known[name], value)
        if inner is not None:
            _check_names(model, inside, inner, f"{where}.{name}")


def _message_in(field: FieldType, value: object) -> tuple[Descriptor | None, object]:
    """Return the message that a field holds, and its values; those of a map, too."""
    inner = field.message_type
    if not is_map(field):
        return inner, value
    values = list(value.values()) if isinstance(value, Mapping) else value
    return inner.fields_by_name["value"].message_type, values


def _without_batch(name: str, tensor: Tensor, max_batch_size: int) -> Shape:
    if not tensor.shape:
        raise SpecError(
            f"model {name!r}: max_batch_size is {max_batch_size}, but {tensor.name!r} "
            "is a scalar: it has no batch axis",
            hint="export it with a first axis that varies, or leave out batching",
        )
    if tensor.shape[0] != DYNAMIC:
        raise SpecError(
            f"model {name!r}: max_batch_size is {max_batch_size}, but the first axis "
            f"of {tensor.name!r} is fixed: its shape is {list(tensor.shape)}",
            hint="export it with a first axis that varies, or leave out batching",
        )
    return tensor.shape[1:]


def _check_dims(name: str, tensor: str, dims: Shape) -> None:
    if 0 in dims:
        raise SpecError(f"model {name!r}: {tensor!r} has an axis of size 0: {dims}")
