"""Simplify a graph whose large weights stay in files: onnxslim sees them as inputs."""

from __future__ import annotations

from collections.abc import Callable

from onnx import ModelProto, helper

from triton_kit.conversion.onnx.weight_files import has_apart, is_apart


def simplified_apart(
    model: ModelProto, simplify: Callable[[ModelProto], ModelProto]
) -> ModelProto:
    """Return what `simplify` makes of a model, in which large weights are inputs.

    So none of them is folded into another one, which ONNX Runtime does as it loads.
    """
    if not has_apart(model):
        return simplify(model)
    apart = [tensor for tensor in model.graph.initializer if is_apart(tensor)]
    listed = {value.name for value in model.graph.input}
    bare = ModelProto()
    bare.CopyFrom(model)
    del bare.graph.initializer[:]
    bare.graph.initializer.extend(
        tensor for tensor in model.graph.initializer if not is_apart(tensor)
    )
    bare.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in apart
        if tensor.name not in listed
    )
    done = simplify(bare)
    names = {tensor.name for tensor in apart}
    inputs = [
        value
        for value in done.graph.input
        if value.name in listed or value.name not in names
    ]
    del done.graph.input[:]
    done.graph.input.extend(inputs)
    used = {name for node in done.graph.node for name in node.input}
    used.update(output.name for output in done.graph.output)
    used |= listed
    done.graph.initializer.extend(t for t in apart if t.name in used)
    return done
