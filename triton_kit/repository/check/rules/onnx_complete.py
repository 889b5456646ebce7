"""Inputs, outputs and batch size that the onnxruntime backend reads from the graph."""

from __future__ import annotations

from collections.abc import Sequence

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.errors import ConvertError
from triton_kit.repository.check.rules.case import Case, Problem, model_file
from triton_kit.repository.check.rules.sizes import VARIABLE
from triton_kit.tensors import Tensor
from triton_kit.triton.schema import DATA_TYPES

# --backend-config=default-max-batch-size
_DEFAULT_MAX_BATCH_SIZE = 4


def is_completed(case: Case) -> bool:
    """Whether the backend completes the config: not if it has inputs and outputs."""
    written = case.written
    has_inputs = bool(written.input or written.batch_input)
    return case.completes and not (has_inputs and written.output)


def complete_tensors(case: Case) -> bool:
    """Fill in what the backend reads from the graph; False if tensors stay unknown."""
    config = case.config
    if not is_completed(case):
        return bool(config.input and config.output) or not case.completes
    if config.backend != "onnxruntime" or not case.versions:
        return False
    try:
        model = inspect_onnx(model_file(case, case.versions[0]))
    except ConvertError:
        return False
    if model.unranked:
        return False
    if config.max_batch_size == 0 and has_batch_axis(model):
        config.max_batch_size = _DEFAULT_MAX_BATCH_SIZE
    if not config.input and not config.batch_input:
        _fill(case, "input", model.inputs)
    if not config.output:
        _fill(case, "output", model.outputs)
    return True


def has_batch_axis(model: OnnxModel) -> bool:
    """Whether the first axis of every input and output varies."""
    tensors = (*model.inputs, *model.outputs)
    return all(tensor.shape[:1] == (VARIABLE,) for tensor in tensors)


def without_batch_axis(case: Case, model: OnnxModel) -> Problem | None:
    """M10: the backend completes no config with a batch that the graph lacks."""
    size = case.written.max_batch_size
    if not is_completed(case) or size == 0 or model.unranked or has_batch_axis(model):
        return None
    fixed = next(
        tensor
        for tensor in (*model.inputs, *model.outputs)
        if tensor.shape[:1] != (VARIABLE,)
    )
    first = f"a fixed first axis of {fixed.shape[0]}" if fixed.shape else "no axis"
    return Problem(
        "M10",
        f"autofill failed for model '{case.name}': model does not support batching "
        "while non-zero max_batch_size is specified",
        at=("max_batch_size",),
        message=f"{fixed.name!r} has {first} in the model file, and max_batch_size is "
        f"{size}",
        hint="export the model with a batch axis that varies, or write "
        "max_batch_size: 0",
    )


def _fill(case: Case, kind: str, tensors: Sequence[Tensor]) -> None:
    is_batched = case.config.max_batch_size > 0
    for tensor in tensors:
        dims = tensor.shape[1:] if is_batched else tensor.shape
        entry = getattr(case.config, kind).add(
            name=tensor.name,
            data_type=DATA_TYPES.Value(tensor.dtype.config),
            dims=dims or (1,),
        )
        if is_batched and not dims:
            entry.reshape.SetInParent()
