"""Inputs and outputs: name, type, dims, reshape, and what only TensorRT has."""

from __future__ import annotations

from triton_kit.repository.check.normalize import TENSORRT_PLATFORM
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.sizes import VARIABLE, element_count, trunks
from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import Message

_IMAGE_FORMATS = (1, 2)  # FORMAT_NHWC, FORMAT_NCHW
_VARIABLE_TEXT = "-1 to indicate a variable-size dimension"


def check_tensors(case: Case) -> Problems:
    """I1 to I15: one problem a tensor at most, as the server sees them."""
    suffix = f" for {case.name}"
    for kind in ("input", "output"):
        for number, tensor in enumerate(getattr(case.config, kind)):
            at = (kind, number)
            problem = _tensor(case, tensor, kind, at)
            if problem is not None:
                yield Problem(
                    problem.rule,
                    problem.server_text + suffix,
                    at=problem.at,
                    hint=problem.hint,
                )


def _tensor(
    case: Case, tensor: Message, kind: str, at: tuple[Step, ...]
) -> Problem | None:
    return (
        _declared(case, tensor, kind, at)
        or _dims(tensor, kind, at)
        or _reshape(tensor, kind, at)
        or _format(tensor, kind, at)
        or _tensorrt_only(case, tensor, kind, at)
    )


def _prefix(tensor: Message, kind: str) -> str:
    return f"model {kind} '{tensor.name}' "


def _declared(
    case: Case, tensor: Message, kind: str, at: tuple[Step, ...]
) -> Problem | None:
    if not tensor.name:
        text = f"model {kind} must specify 'name'"
        return Problem("I1", text, at=at, hint=f"name the {kind} as the model does")
    prefix = _prefix(tensor, kind)
    if tensor.data_type == 0:
        text = f"{prefix}must specify 'data_type'"
        return Problem("I2", text, at=at, hint="add data_type: TYPE_FP32")
    if not tensor.dims:
        rule = "I3" if kind == "input" else "I15"
        hint = "add dims, without the batch axis where max_batch_size > 0"
        return Problem(rule, f"{prefix}must specify 'dims'", at=at, hint=hint)
    is_empty = tensor.HasField("reshape") and not tensor.reshape.shape
    if is_empty and case.config.max_batch_size == 0:
        return Problem(
            "I5",
            f"{prefix}cannot have empty reshape for non-batching model as scalar "
            "tensors are not supported",
            at=(*at, "reshape"),
            hint="set max_batch_size, or drop the reshape",
        )
    return None


def _dims(tensor: Message, kind: str, at: tuple[Step, ...]) -> Problem | None:
    prefix = _prefix(tensor, kind)
    for number, dim in enumerate(tensor.dims):
        if dim < 1 and dim != VARIABLE:
            return Problem(
                "I4",
                f"{prefix}dimension must be integer >= 1, or {_VARIABLE_TEXT}",
                at=(*at, "dims", number),
                hint=f"it is {dim}",
            )
    for number, dim in enumerate(tensor.reshape.shape):
        if dim < 1 and dim != VARIABLE:
            return Problem(
                "I6",
                f"{prefix}reshape dimensions must be integer >= 1, or {_VARIABLE_TEXT}",
                at=(*at, "reshape", "shape", number),
                hint=f"it is {dim}",
            )
    return None


def _reshape(tensor: Message, kind: str, at: tuple[Step, ...]) -> Problem | None:
    if not tensor.HasField("reshape"):
        return None
    at = (*at, "reshape")
    shape, dims = tensor.reshape.shape, tensor.dims
    size, reshaped = element_count(dims), element_count(shape)
    different = f"{_prefix(tensor, kind)}has different size for dims and reshape"
    hint = f"dims {list(dims)} cannot become {list(shape)}"
    if size != reshaped and (reshaped != 0 or size != 1):
        return Problem("I7", different, at=at, hint=hint)
    if size == VARIABLE:
        from_trunks, to_trunks = trunks(dims), trunks(shape)
        if len(from_trunks) != len(to_trunks):
            return Problem(
                "I8",
                f"{_prefix(tensor, kind)}has different number of variable-size "
                "dimensions for dims and reshape",
                at=at,
                hint=hint,
            )
        if from_trunks != to_trunks:
            hint += ": the sizes between the -1 must multiply to the same"
            return Problem("I9", different, at=at, hint=hint)
    return None


def _format(tensor: Message, kind: str, at: tuple[Step, ...]) -> Problem | None:
    if kind == "input" and tensor.format in _IMAGE_FORMATS and len(tensor.dims) != 3:
        return Problem(
            "I10",
            "model input NHWC/NCHW require 3 dims",
            at=(*at, "format"),
            hint=f"dims has {len(tensor.dims)}: drop the format, or leave the batch "
            "axis out of dims",
        )
    return None


def _tensorrt_only(
    case: Case, tensor: Message, kind: str, at: tuple[Step, ...]
) -> Problem | None:
    is_tensorrt = case.config.platform == TENSORRT_PLATFORM
    if tensor.is_shape_tensor and not is_tensorrt:
        return Problem(
            "I11" if kind == "input" else "I12",
            "shape tensors are only supported for TensorRT platform",
            at=(*at, "is_shape_tensor"),
            hint="remove is_shape_tensor",
        )
    if not tensor.is_non_linear_format_io:
        return None
    at = (*at, "is_non_linear_format_io")
    if not is_tensorrt:
        text = "Non-linear IO format is only supported for the TensorRT platform"
        return Problem("I13", text, at=at, hint="remove is_non_linear_format_io")
    if len(tensor.dims) != 3:
        return Problem("I14", f"Non-linear IO format {kind} requires 3 dims", at=at)
    return None
