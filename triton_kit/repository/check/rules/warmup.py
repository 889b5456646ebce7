"""Warm-up samples: the server builds them while it loads the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.sizes import (
    VARIABLE,
    element_count,
    item_bytes,
)
from triton_kit.repository.check.rules.textfile import unreadable
from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import Message

_REQUEST = "[request id: <id_unknown>] "
_FOLDER = "warmup"
_LENGTH_BYTES = 4
_BATCH_NOTE = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch "
    "dimension to be prepended to each input shape. If you want to specify the full "
    "shape including the batch dim in your input dims config, try setting "
    "max_batch_size to zero. See the model configuration docs for more info on "
    "max_batch_size."
)


def check_warmup(case: Case) -> Problems:
    """W1 to W9; one problem a sample at most."""
    groups = case.config.instance_group
    if groups and all(group.passive for group in groups):
        return  # passive instances are not warmed up
    for number, sample in enumerate(case.config.model_warmup):
        if sample.batch_size == 0:
            continue  # the server skips these
        problem = _sample(case, sample, ("model_warmup", number))
        if problem is not None:
            yield problem


def _sample(case: Case, sample: Message, at: tuple[Step, ...]) -> Problem | None:
    inputs = sorted(sample.inputs.items())
    for name, data in inputs:
        if element_count(data.dims) == VARIABLE:
            text = "warmup setting expects all variable-size dimensions are specified"
            hint = "write the sizes that the sample shall have"
            at_dims = (*at, "inputs", name, "dims")
            return Problem("W1", f"{text} for input '{name}'", at=at_dims, hint=hint)
    for name, data in inputs:
        problem = _data(case, name, data, (*at, "inputs", name))
        if problem is not None:
            return problem
    return _count(case, sample, at) or _against_model(case, inputs, at)


def _data(case: Case, name: str, data: Message, at: tuple[Step, ...]) -> Problem | None:
    choice = data.WhichOneof("input_data_type")
    if choice is None:
        return Problem(
            "W2",
            f"{_REQUEST}warmup setting expects input '{name}' to have input_data_type "
            "set",
            at=at,
            hint="add zero_data: true, random_data: true or input_data_file",
        )
    if choice != "input_data_file":
        return None
    path = case.folder.path / _FOLDER / data.input_data_file
    failure = unreadable(path)
    at = (*at, "input_data_file")
    if failure:
        return Problem("W3", failure, at=at, hint=f"put it into {_FOLDER}/")
    if path.is_dir():
        message = f"{data.input_data_file!r} is a folder: the server aborts on it"
        return Problem("W8", at=at, message=message, hint="name a file")
    if data_type_name(data.data_type) == "TYPE_STRING":
        return _strings(name, case, data, path, at)
    need = element_count(data.dims) * (item_bytes(data.data_type) or 4)
    need %= 1 << 64  # the server compares unsigned
    have = path.stat().st_size
    if have < need:
        return Problem(
            "W4",
            f"{_REQUEST}warmup setting expects {need} bytes, but the data provided "
            f"from {data.input_data_file}only has {have} bytes",
            at=at,
            hint="write all values of the sample, in row-major order",
        )
    return None


def _strings(
    name: str, case: Case, data: Message, path: Path, at: tuple[Step, ...]
) -> Problem | None:
    """Each string of a file must come with its length before it."""
    content, position, found = path.read_bytes(), 0, 0
    while position + _LENGTH_BYTES <= len(content):
        length = int.from_bytes(content[position : position + _LENGTH_BYTES], "little")
        position += _LENGTH_BYTES + length
        found += 1
    need = element_count(data.dims)
    if position == len(content) and found == need:
        return None
    text = ""
    if len(content) < _LENGTH_BYTES and content:
        text = (
            f"{_REQUEST}incomplete string length indicator for inference input "
            f"'{name}' for model '{case.name}', expecting 4 bytes but only "
            f"{len(content)} bytes available. Please make sure the string length "
            "indicator is in one buffer."
        )
    return Problem(
        "W9",
        text,
        at=at,
        message=f"{data.input_data_file} does not hold {need} strings with their "
        "lengths before them",
        hint="write each string as 4 bytes of length, little-endian, and its bytes",
    )


def _count(case: Case, sample: Message, at: tuple[Step, ...]) -> Problem | None:
    """The server counts inputs; it does not name the missing one."""
    required = [t.name for t in case.config.input if not t.optional]
    known = {t.name for t in case.config.input}
    given = sorted(name for name in sample.inputs if name in known)
    if len(given) >= len(required):
        return None
    got = ",".join(f"'{name}'" for name in given)
    missing = [name for name in required if name not in given]
    wanted = "[" + ",".join(f"'{name}'" for name in missing) if missing else ""
    unknown = sorted(set(sample.inputs) - known)
    hint = f"add inputs {', '.join(missing)}"
    if unknown:
        hint += f"; the model has no input {', '.join(unknown)}"
    expected = f"{len(required)} inputs"
    if len(required) < len(case.config.input):
        least, most = len(required), len(case.config.input)
        expected = f"number of inputs between {least} and {most}"
    return Problem(
        "W5",
        f"{_REQUEST}expected {expected} but got {len(given)} inputs for "
        f"model '{case.name}'. Got input(s) [{got}], but missing required input(s) "
        f"{wanted}]. Please provide all required input(s).",
        at=at,
        hint=hint,
    )


def _against_model(
    case: Case, inputs: Sequence[tuple[str, Message]], at: tuple[Step, ...]
) -> Problem | None:
    declared = {tensor.name: tensor for tensor in reversed(case.config.input)}
    for name, data in inputs:
        tensor = declared.get(name)
        if tensor is None:
            continue
        at_input = (*at, "inputs", name)
        problem = _type(case, data, tensor, at_input) or _shape(
            case, data, tensor, at_input
        )
        if problem is not None:
            return problem
    return None


def _type(
    case: Case, data: Message, tensor: Message, at: tuple[Step, ...]
) -> Problem | None:
    if data.data_type == tensor.data_type:
        return None
    given, meant = protocol_name(data.data_type), protocol_name(tensor.data_type)
    return Problem(
        "W6",
        f"{_REQUEST}inference input '{tensor.name}' data-type is '{given}', but model "
        f"'{case.name}' expects '{meant}'",
        at=(*at, "data_type"),
        hint=f"write data_type: {data_type_name(tensor.data_type)}",
    )


def _shape(
    case: Case, data: Message, tensor: Message, at: tuple[Step, ...]
) -> Problem | None:
    if dims_agree(list(data.dims), list(tensor.dims)):
        return None
    is_batched = case.config.max_batch_size > 0
    expected = [-1] * is_batched + list(tensor.dims)
    got = [1] * is_batched + list(data.dims)
    return Problem(
        "W7",
        f"{_REQUEST}unexpected shape for input '{tensor.name}' for model "
        f"'{case.name}'. Expected {dims_text(expected)}, got {dims_text(got)}. "
        f"{_BATCH_NOTE if is_batched else ''}".rstrip(),
        at=(*at, "dims"),
        hint=f"write dims that fit {list(tensor.dims)}, without the batch axis",
    )


def protocol_name(data_type: int) -> str:
    """Return the name of a type in requests: `FP32`, and BYTES for strings."""
    name = data_type_name(data_type).removeprefix("TYPE_")
    return {"STRING": "BYTES", "INVALID": "<invalid>", "": "<invalid>"}.get(name, name)


def dims_agree(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes can be the same: -1 agrees with every size."""
    return len(one) == len(other) and all(
        a == b or VARIABLE in (a, b) for a, b in zip(one, other, strict=True)
    )


def dims_text(dims: Sequence[int]) -> str:
    """Write a shape as the server does: `[-1,4]`."""
    return "[" + ",".join(str(dim) for dim in dims) + "]"
