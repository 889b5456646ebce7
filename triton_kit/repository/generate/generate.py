"""A config for one model file, without a project."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any  # JSON values by proto name

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.errors import SpecError
from triton_kit.repository.generate.config import model_config
from triton_kit.tensors import DYNAMIC
from triton_kit.triton.schema import Message

DEFAULT_BATCH_SIZE = 8
# Names that exporters invent for an axis whose size they do not know.
_INVENTED = re.compile(r"unk__\d+|.*_dim_\d+|\?")


def config_from_onnx(
    path: Path,
    *,
    name: str | None = None,
    max_batch_size: int | None = None,
    instances: int | None = None,
    dynamic_batching: bool = False,
) -> Message:
    """Return the ModelConfig of an ONNX file.

    Args:
        path: the file.
        name: the model's name; None takes that of the file, or, for the usual
            `NAME/1/model.onnx`, of the folder.
        max_batch_size: None takes 8 if every input and output has a first axis that
            varies, and the graph gives them one size; else 0.
        instances: how many instances run on the CPU; None leaves it to the server.
        dynamic_batching: whether the server joins requests.

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
    size = _batch_size(path, model) if max_batch_size is None else max_batch_size
    if size < 0:
        raise SpecError(f"max_batch_size must be >= 0, got {size}")
    if dynamic_batching and size == 0:
        raise SpecError(
            f"{path}: dynamic batching needs a batch axis, and the model has none",
            hint="export it with a first axis that varies in every input and output, "
            "or set max_batch_size if there is one",
        )
    fields: dict[str, Any] = {"max_batch_size": size}
    if dynamic_batching:
        fields["dynamic_batching"] = {}
    if instances is not None:
        fields["instance_group"] = [{"count": instances, "kind": "KIND_CPU"}]
    return model_config(
        name or _name(path),
        backend="onnxruntime",
        fields=fields,
        inputs=model.inputs,
        outputs=model.outputs,
    )


def _batch_size(path: Path, model: OnnxModel) -> int:
    tensors = (*model.inputs, *model.outputs)
    has_batch_axis = all(t.shape[:1] == (DYNAMIC,) for t in tensors)
    # Where every input has this axis alone, it may as well be a length.
    has_more = any(len(tensor.shape) > 1 for tensor in model.inputs)
    is_batched = has_batch_axis and has_more and _has_one_size(path, model)
    return DEFAULT_BATCH_SIZE if is_batched else 0


def _has_one_size(path: Path, model: OnnxModel) -> bool:
    """Whether all first axes have one size, as far as their names tell.

    Another name may be another size (of boxes that were found, say), or the same one
    that the exporter named again: then the graph itself decides.
    """
    inputs = {_axis_name(model, tensor.name) for tensor in model.inputs} - {None}
    outputs = {_axis_name(model, tensor.name) for tensor in model.outputs} - {None}
    if len(inputs | outputs) <= 1:
        return True
    return len(inputs) == 1 and _inferred_axes(path) == inputs


def _axis_name(model: OnnxModel, tensor: str) -> str | None:
    name = model.axis_names[tensor][0]
    return None if name is None or _INVENTED.fullmatch(name) else name


def _inferred_axes(path: Path) -> set[str]:
    """Return the names of the outputs' first axes that follow from the inputs."""
    import onnx

    graph = onnx.load(path, load_external_data=False)
    for output in graph.graph.output:
        output.type.tensor_type.ClearField("shape")
    del graph.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True)
    return {
        output.type.tensor_type.shape.dim[0].dim_param
        for output in inferred.graph.output
        if output.type.tensor_type.shape.dim
    } or {""}


def _name(path: Path) -> str:
    absolute = path.absolute()
    if path.stem == "model" and absolute.parent.name.isdigit():
        return absolute.parent.parent.name
    return path.stem
