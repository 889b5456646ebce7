"""Inputs that the server fills in: sequence controls, states and batch inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from triton_kit.artifact import OnnxModel
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.sizes import VARIABLE
from triton_kit.repository.check.rules.warmup import dims_agree, dims_text
from triton_kit.repository.config.places import Step
from triton_kit.tensors import Tensor
from triton_kit.triton.schema import DATA_TYPES, Message

_AT = "sequence_batching"
_FLAG_TYPES = {
    "int32_false_true": "TYPE_INT32",
    "fp32_false_true": "TYPE_FP32",
    "bool_false_true": "TYPE_BOOL",
}


def control_type(control: Message) -> str:
    """Return the data type of a control: of its values, or the one it names."""
    for field, data_type in _FLAG_TYPES.items():
        if getattr(control, field):
            return data_type
    return data_type_name(control.data_type)


def _controls(case: Case) -> Iterator[tuple[tuple[Step, ...], str, Message]]:
    """Yield the place, the tensor's name and the control of each kind."""
    for number, tensor in enumerate(case.config.sequence_batching.control_input):
        for index, control in enumerate(tensor.control):
            at = (_AT, "control_input", number, "control", index)
            yield at, tensor.name, control


def check_controls(case: Case, model: OnnxModel) -> Problems:
    """M12 to M14: each control is an input of shape [1] and of its own type."""
    known = {tensor.name: tensor for tensor in model.inputs}
    for at, name, control in _controls(case):
        actual = known.get(name)
        if actual is None:
            yield Problem(
                "M12",
                f"configuration specified sequence control '{name}', but model does "
                "not provide that input",
                at=(*at[:3], "name"),
                hint=f"the model file has {', '.join(sorted(known)) or 'no inputs'}",
            )
            continue
        if actual.name not in model.unranked:
            yield from _control_shape(case, actual, at)
        declared = control_type(control)
        if declared and declared != actual.dtype.config:
            yield Problem(
                "M14",
                f"unable to load model '{case.name}', sequence control '{name}', the "
                f"model expects data-type {actual.dtype.config} but the model "
                f"configuration specifies data-type {declared}",
                at=at,
                hint=_control_hint(actual),
            )


def _control_shape(case: Case, actual: Tensor, at: tuple[Step, ...]) -> Problems:
    is_batched = case.config.max_batch_size > 0
    dims = actual.shape[1:] if is_batched else actual.shape
    if dims != (1,):
        yield Problem(
            "M13",
            f"unable to load model '{case.name}', sequence control '{actual.name}' in "
            f"model has dims {dims_text(dims)} but dims [1] is expected",
            at=(*at[:3], "name"),
            hint=f"export it with shape {'[batch, 1]' if is_batched else '[1]'}",
        )


def _control_hint(actual: Tensor) -> str:
    for field, data_type in _FLAG_TYPES.items():
        if data_type == actual.dtype.config:
            return f"write {field}: [ ... ] for a flag"
    return f"write data_type: {actual.dtype.config}, if it is a correlation id"


def check_input_count(case: Case, model: OnnxModel) -> Problems:
    """M7: inputs, batch inputs, controls and states are all inputs of the graph."""
    config = case.config
    listed = [t.name for t in config.input if not t.optional]
    if not config.input and case.completes:
        listed = [tensor.name for tensor in model.inputs]
    targets = [name for item in config.batch_input for name in item.target_name]
    controls = [name for _, name, _ in _controls(case)]
    states = [state.input_name for state in config.sequence_batching.state]
    count = len(listed) + len(config.batch_input) + len(controls) + len(states)
    if count == len(model.inputs):
        return
    filled_in = {
        **dict.fromkeys(targets, "a batch input"),
        **dict.fromkeys(controls, "a sequence control"),
        **dict.fromkeys(states, "a state"),
    }
    message, hint = _count_reason(case, model, listed, filled_in)
    yield Problem(
        "M7",
        f"unable to load model '{case.name}', configuration expects {count} inputs, "
        f"model provides {len(model.inputs)}",
        at=("input",),
        message=message
        or f"the config has {count} inputs, batch inputs, controls and "
        f"states, and the model file has {len(model.inputs)} inputs",
        hint=hint,
    )


def _count_reason(
    case: Case, model: OnnxModel, listed: list[str], filled_in: dict[str, str]
) -> tuple[str, str]:
    """Return what makes the number of inputs wrong, and what to do."""
    twice = [name for name in listed if name in filled_in]
    if twice and not case.written.input:
        return (
            "the backend completes `input` with every input of the model file, "
            f"{twice[0]!r} too, which is {filled_in[twice[0]]}",
            "write `input` with the tensors that clients send",
        )
    if twice:
        return (
            f"{twice[0]!r} is {filled_in[twice[0]]}, which the server fills in, and is "
            "listed in `input` as well",
            f"remove {', '.join(map(repr, twice))} from `input`",
        )
    needed = {tensor.name for tensor in model.inputs}
    optional = {t.name for t in case.config.input if t.optional} & needed
    if optional:
        names = ", ".join(sorted(optional))
        return (
            f"the model file has no default for the optional input {names}",
            "remove optional: only an initialiser that is listed as input is optional",
        )
    missing = sorted(needed - {*listed, *filled_in})
    if missing:
        return f"the config lacks inputs of the model file: {', '.join(missing)}", (
            "add them"
        )
    defaults = {tensor.name for tensor in model.overridable} & set(listed)
    if defaults:
        names = ", ".join(sorted(defaults))
        return (
            f"the model file has a default for {names}: it is an initialiser",
            "write optional: true",
        )
    repeated = [name for name, times in Counter(listed).items() if times > 1]
    if repeated:
        return f"input {repeated[0]!r} is listed twice", "remove one"
    return "", f"the model file has {', '.join(sorted(needed)) or 'no inputs'}"


def check_batch_inputs(case: Case, model: OnnxModel) -> Problems:
    """M20: the tensor that the server makes from a batch is an input of the graph."""
    known = {tensor.name: tensor for tensor in model.inputs}
    for number, item in enumerate(case.config.batch_input):
        for index, name in enumerate(item.target_name):
            at: tuple[Step, ...] = ("batch_input", number)
            actual = known.get(name)
            if actual is None:
                yield Problem(
                    "M20",
                    at=(*at, "target_name", index),
                    message=f"no input {name!r} in the model file: every request fails",
                    hint=f"it has {', '.join(sorted(known)) or 'no inputs'}",
                )
            elif item.data_type != DATA_TYPES.Value(actual.dtype.config):
                yield Problem(
                    "M20",
                    at=(*at, "data_type"),
                    message=f"{name!r} is {actual.dtype.config} in the model file: "
                    "every request fails",
                    hint=f"write data_type: {actual.dtype.config}",
                )


def check_state_tensors(case: Case, model: OnnxModel) -> Problems:
    """M15 to M17: the backend loads such a model, and then fails every request."""
    inputs = {tensor.name: tensor for tensor in model.inputs}
    outputs = {tensor.name: tensor for tensor in model.outputs}
    for number, state in enumerate(case.config.sequence_batching.state):
        at = (_AT, "state", number)
        for kind, known in (("input", inputs), ("output", outputs)):
            name = getattr(state, f"{kind}_name")
            actual = known.get(name)
            if actual is None:
                yield Problem(
                    "M15",
                    at=(*at, f"{kind}_name"),
                    message=f"the model file has no {kind} {name!r} for the state",
                    hint=f"it has {', '.join(sorted(known)) or 'none'}",
                )
            else:
                yield from _state_tensor(case, state, actual, model, at)


def _state_tensor(
    case: Case, state: Message, actual: Tensor, model: OnnxModel, at: tuple[Step, ...]
) -> Problems:
    if state.data_type != DATA_TYPES.Value(actual.dtype.config):
        yield Problem(
            "M16",
            at=(*at, "data_type"),
            message=f"the state's tensor {actual.name!r} is {actual.dtype.config} in "
            "the model file",
            hint=f"write data_type: {actual.dtype.config}",
        )
    if actual.name in model.unranked:
        return
    is_batched = case.config.max_batch_size > 0
    full = [VARIABLE] * is_batched + list(state.dims)
    is_fixed = is_batched and actual.shape[:1] != (VARIABLE,)
    if is_fixed or not dims_agree(actual.shape, full):
        wanted = list(actual.shape[1:] if is_batched else actual.shape)
        yield Problem(
            "M17",
            at=(*at, "dims"),
            message=f"the state's tensor {actual.name!r} has shape "
            f"{dims_text(actual.shape)} in the model file, and {dims_text(full)} here",
            hint="export it with a batch axis that varies"
            if is_fixed
            else f"write dims: {wanted}",
        )
