"""An ONNX graph against the config, as the C++ onnxruntime backend compares them.

The rules and their order are those of ModelInstanceState in the backend's source
(onnxruntime.cc): controls, the number of inputs, each input, each output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.errors import ConvertError
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.onnx_complete import without_batch_axis
from triton_kit.repository.check.rules.onnx_sequence import (
    check_batch_inputs,
    check_controls,
    check_input_count,
    check_state_tensors,
)
from triton_kit.repository.check.rules.onnx_versions import check_onnx_versions
from triton_kit.repository.check.rules.sizes import VARIABLE
from triton_kit.repository.check.rules.warmup import dims_agree, dims_text
from triton_kit.repository.config.places import Step
from triton_kit.tensors import Tensor
from triton_kit.triton.schema import DATA_TYPES, Message


def check_onnx(case: Case, path: Path) -> Problems:
    """M1, M5 to M21."""
    try:
        model = inspect_onnx(path)
    except ConvertError as error:
        message = error.message.removeprefix(f"{path}: ")
        yield Problem("M1", message=message, hint=error.hint, file=path)
        return
    for name in model.external_files:
        if not (path.parent / name).is_file():
            message = f"the model's weights are in {name}, which is not there"
            yield Problem("M5", message=message, hint="copy it too", file=path)
    yield from check_onnx_versions(case, model, path)
    unbatched = without_batch_axis(case, model)
    if unbatched is not None:
        yield unbatched
        return
    yield from check_controls(case, model)
    yield from check_input_count(case, model)
    yield from _inputs(case, model)
    yield from _outputs(case, model)
    yield from check_batch_inputs(case, model)
    yield from check_state_tensors(case, model)


def _inputs(case: Case, model: OnnxModel) -> Problems:
    known = {tensor.name: tensor for tensor in (*model.inputs, *model.overridable)}
    for number, tensor in enumerate(case.written.input):
        at = ("input", number)
        if tensor.optional and case.config.max_batch_size > 0:
            yield _optional_in_batch(case, tensor.name, at)
        elif tensor.name not in known:
            yield _unexpected("input", tensor.name, sorted(known), at)
        else:
            yield from _compare(case, tensor, known[tensor.name], model, at)


def _outputs(case: Case, model: OnnxModel) -> Problems:
    known = {tensor.name: tensor for tensor in model.outputs}
    for number, tensor in enumerate(case.written.output):
        at = ("output", number)
        if tensor.name not in known:
            yield _unexpected("output", tensor.name, sorted(known), at)
        else:
            yield from _compare(case, tensor, known[tensor.name], model, at)


def _optional_in_batch(case: Case, name: str, at: tuple[Step, ...]) -> Problem:
    return Problem(
        "M19",
        f"unable to load model '{case.name}', optional input '{name}' is not supported "
        "for models that support batching",
        at=(*at, "optional"),
        hint="write max_batch_size: 0 and whole shapes, or remove optional",
    )


def _unexpected(
    kind: str, name: str, known: Sequence[str], at: tuple[Step, ...]
) -> Problem:
    return Problem(
        "M6",
        f"unexpected inference {kind} '{name}', allowed {kind}s are: "
        f"{', '.join(known)}",
        at=(*at, "name"),
        message=f"the model file has no {kind} {name!r}",
        hint=f"it has {', '.join(known) or 'none'}",
    )


def _compare(
    case: Case, tensor: Message, actual: Tensor, model: OnnxModel, at: tuple[Step, ...]
) -> Iterator[Problem]:
    if not tensor.data_type or not tensor.dims:
        return  # reported by the rules on tensors
    kind = at[0]
    if tensor.data_type != DATA_TYPES.Value(actual.dtype.config):
        declared = DATA_TYPES.DESCRIPTOR.values_by_number.get(tensor.data_type)
        yield Problem(
            "M8",
            f"unable to load model '{case.name}', configuration expects datatype "
            f"{declared.name if declared else ''} for {kind} '{tensor.name}', model "
            f"provides {actual.dtype.config.replace('STRING', 'BYTES')}",
            at=(*at, "data_type"),
            message=f"{tensor.name!r} is {actual.dtype.config} in the model file",
            hint=f"write data_type: {actual.dtype.config}",
        )
    scattered = {n for item in case.config.batch_output for n in item.target_name}
    if kind == "output" and actual.name in scattered:
        return
    if actual.name in model.unranked:
        return
    if kind == "input" and tensor.allow_ragged_batch:
        problem = _ragged(case, tensor, actual, at)
    else:
        problem = _shape(case, tensor, actual, at)
    if problem is not None:
        yield problem


def _ragged(
    case: Case, tensor: Message, actual: Tensor, at: tuple[Step, ...]
) -> Problem | None:
    """M18: the backend concatenates ragged requests along one axis of any size."""
    prefix = (
        f"unable to load model '{case.name}', configuration expects model provides "
        "input with shape [-1]"
    )
    if tensor.optional:
        return Problem(
            "M18",
            f"{prefix} for ragged input '{tensor.name}', which is not supported for "
            "optional input",
            at=(*at, "optional"),
            hint="remove optional, or allow_ragged_batch",
        )
    if actual.shape == (VARIABLE,):
        return None
    return Problem(
        "M18",
        f"{prefix}  for ragged input '{tensor.name}', model provides "
        f"{dims_text(actual.shape)}",
        at=(*at, "allow_ragged_batch"),
        message=f"{tensor.name!r} allows ragged batches: the model file must have it "
        f"as one axis of any size, [-1], and has {dims_text(actual.shape)}",
        hint="export the model with this input flattened over the batch, or remove "
        "allow_ragged_batch",
    )


def _shape(
    case: Case, tensor: Message, actual: Tensor, at: tuple[Step, ...]
) -> Problem | None:
    """M9 to M11: outputs must be equal, -1 included; inputs may be narrower."""
    is_batched = case.config.max_batch_size > 0
    dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    shape = list(actual.shape)
    if not shape:
        return _scalar(case, tensor, dims, at)
    if is_batched and shape[0] != VARIABLE:
        return fixed_batch(case, actual, at)
    full = [VARIABLE] * is_batched + dims
    is_exact = at[0] == "output"
    agrees = len(full) == len(shape) and all(
        meant == given or (meant == VARIABLE and not is_exact)
        for meant, given in zip(shape, full, strict=True)
    )
    if agrees:
        return None
    note = " (an initial batch dimension" if is_batched else ""
    return Problem(
        "M9",
        f"model '{case.name}', tensor '{tensor.name}': the model expects "
        f"{len(shape)} dimensions (shape {dims_text(shape)}) but the model "
        f"configuration specifies {len(full)} dimensions{note}",
        at=(*at, "dims"),
        message=f"{tensor.name!r} has shape {dims_text(shape)} in the model file, and "
        f"{dims_text(full)} here",
        hint=_shape_hint(shape, full, is_batched=is_batched),
    )


def _scalar(
    case: Case, tensor: Message, dims: Sequence[int], at: tuple[Step, ...]
) -> Problem | None:
    if all(dim == 1 for dim in dims):
        return None
    return Problem(
        "M11",
        f"unable to load model '{case.name}', scalar tensor '{tensor.name}', should "
        "only provide 1 in the model",
        at=(*at, "dims"),
        message=f"{tensor.name!r} is a scalar in the model file",
        hint="write dims: [ 1 ]",
    )


def _shape_hint(shape: Sequence[int], full: Sequence[int], *, is_batched: bool) -> str:
    if is_batched and dims_agree(shape, full[1:]):
        return "max_batch_size > 0 adds the batch axis: leave it out of dims"
    if is_batched and len(shape) == 1:
        return "write dims: [ 1 ] reshape { shape: [ ] }: one value per request"
    if is_batched:
        return f"write dims: {list(shape[1:])}, the shape without the batch axis"
    return f"write dims: {list(shape)}"


def fixed_batch(case: Case, actual: Tensor, at: tuple[Step, ...]) -> Problem:
    """M10: batches need a first axis of any size."""
    return Problem(
        "M10",
        f"model '{case.name}', tensor '{actual.name}': for the model to support "
        "batching the shape should have at least 1 dimension and the first dimension "
        f"must be -1; but shape expected by the model is {dims_text(actual.shape)}",
        at=at,
        message=f"{actual.name!r} has a fixed first axis of {actual.shape[0]} in the "
        f"model file, and max_batch_size is {case.config.max_batch_size}",
        hint="export the model with a batch axis that varies, or write "
        "max_batch_size: 0 and the whole shape",
    )
