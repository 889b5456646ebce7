"""A config for one model file, without a project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.errors import SpecError
from triton_kit.repository.generate.config import model_config
from triton_kit.tensors import DYNAMIC
from triton_kit.triton.schema import Message


def config_from_onnx(
    path: Path,
    *,
    name: str | None = None,
    max_batch_size: int | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Message:
    """Return the ModelConfig of an ONNX file.

    Args:
        path: the file.
        name: the model's name; None takes that of the file, or, for the usual
            `NAME/1/model.onnx`, of the folder.
        max_batch_size: None takes 8 if every input and output has a first axis that
            varies, of the same name where it has one; else 0.
        fields: other fields by their proto names, as JSON values.

    Raises:
        ConvertError: the file is no ONNX model.
        SpecError: a tensor has no shape, or no batch axis where there must be one.
    """
    model = inspect_onnx(path)
    if model.unranked:
        raise SpecError(
            f"{path}: no shape is known of {', '.join(sorted(model.unranked))}",
            hint="run onnx.shape_inference, or write the config by hand",
        )
    size = _batch_size(model) if max_batch_size is None else max_batch_size
    if size < 0:
        raise SpecError(f"max_batch_size must be >= 0, got {size}")
    return model_config(
        name or _name(path),
        backend="onnxruntime",
        fields={"max_batch_size": size} | dict(fields or {}),
        inputs=model.inputs,
        outputs=model.outputs,
    )


DEFAULT_BATCH_SIZE = 8


def _batch_size(model: OnnxModel) -> int:
    tensors = (*model.inputs, *model.outputs)
    has_batch_axis = all(t.shape[:1] == (DYNAMIC,) for t in tensors)
    # Another name is another size: of boxes that were found, say.
    names = {model.axis_names[t.name][0] for t in tensors} if has_batch_axis else set()
    is_shared = len(names - {None}) <= 1
    # Where every input has this axis alone, it may as well be a length.
    has_more = any(len(tensor.shape) > 1 for tensor in model.inputs)
    return DEFAULT_BATCH_SIZE if has_batch_axis and is_shared and has_more else 0


def _name(path: Path) -> str:
    absolute = path.absolute()
    if path.stem == "model" and absolute.parent.name.isdigit():
        return absolute.parent.parent.name
    return path.stem
