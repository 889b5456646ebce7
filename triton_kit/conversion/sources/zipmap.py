"""A ZipMap makes maps of class probabilities, which no server serves; the tensor is."""

from __future__ import annotations

import json
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, helper

from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx

# The key of the metadata that keeps them, as JSON; of several outputs, the key of each
# ends with its name.
LABELS = "class_labels"


def without_zipmap(path: Path, scratch: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Write the model with tensors for its maps; None where it has no ZipMap.

    The outputs keep their names, the class labels go into the metadata.

    Returns:
        The file, and a note for each output.
    """
    model = load_onnx(path)
    maps = [node for node in model.graph.node if node.op_type == "ZipMap"]
    if not maps:
        return None
    keys = [LABELS] if len(maps) == 1 else [f"{LABELS}.{m.output[0]}" for m in maps]
    notes = tuple(
        _replace(model, node, key) for node, key in zip(maps, keys, strict=True)
    )
    rewritten = scratch / "without_zipmap.onnx"
    save_onnx(model, rewritten)
    return rewritten, notes


def _replace(model: ModelProto, node: NodeProto, key: str) -> str:
    labels = [
        label.decode() if isinstance(label, bytes) else label
        for attribute in node.attribute
        for label in helper.get_attribute_value(attribute)
    ]
    name = node.output[0]
    node.CopyFrom(helper.make_node("Identity", [node.input[0]], [name], node.name))
    for output in model.graph.output:
        if output.name == name:
            shape: list[str | int | None] = ["batch", len(labels)]
            output.CopyFrom(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            )
    model.metadata_props.add(key=key, value=json.dumps(labels))
    return (
        f"output {name!r} was a list of maps: now a tensor (batch, {len(labels)}), "
        f"its columns are the {key} of the metadata"
    )
