"""ONNX files: read, named, typed, measured, written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.external_data_helper import load_external_data_for_model

from triton_kit.conversion.onnx.stream import (
    write_beside,
    write_linked,
    write_whole,
)
from triton_kit.conversion.onnx.weight_files import has_apart, is_apart
from triton_kit.conversion.spec import GraphSize
from triton_kit.errors import ConvertError
from triton_kit.tensors import Shape

# protobuf's own limit on one message; beyond it weights go to a file beside the graph.
EXTERNAL_OVER_BYTES = 2**31 - 2**20
DATA_SUFFIX = ".data"


def load_onnx(path: Path) -> ModelProto:
    """Read a model with all its weights.

    Raises:
        ConvertError: missing, cut short, no ONNX, or its weight files are missing.
    """
    try:
        model = onnx.load(path)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise load_failed(path, error) from error
    return model


def load_failed(path: Path, error: Exception) -> ConvertError:
    """Return the error of a file that is no ONNX model."""
    return ConvertError(f"{path}: cannot be read as an ONNX model: {error}")


def save_onnx(
    model: ModelProto, path: Path, *, external_over_bytes: int = EXTERNAL_OVER_BYTES
) -> None:
    """Write a model; weights go to `NAME.onnx.data` where one file cannot hold it.

    Raises:
        OSError: the disk is full, or the folder cannot be written; nothing is left.
    """
    weights = _weights_of(path)
    weights.unlink(missing_ok=True)  # onnx appends to what is there
    if has_apart(model):
        _save_apart(model, path, external_over_bytes)
        return
    whole = _serialized(model, external_over_bytes)
    try:
        if whole is not None:
            path.write_bytes(whole)
            return
        onnx.save_model(
            model,
            path,
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=weights.name,
            size_threshold=1024,
        )
        weights.chmod(path.stat().st_mode)  # onnx makes it the owner's alone
        # onnx takes the weights out of the model; its owner is not done with it.
        load_external_data_for_model(model, str(path.parent))
    except OSError:
        remove(path)
        raise


def _save_apart(model: ModelProto, path: Path, external_over_bytes: int) -> None:
    try:
        if not write_whole(model, path, most_bytes=external_over_bytes):
            weights = _weights_of(path)
            write_beside(model, path, weights)
            weights.chmod(path.stat().st_mode)
    except OSError:
        remove(path)
        raise


def save_for_worker(model: ModelProto, path: Path) -> None:
    """Write a model for a process that only reads it: weights in files stay there."""
    if not write_linked(model, path):
        save_onnx(model, path)


def _serialized(model: ModelProto, most_bytes: int) -> bytes | None:
    """Return the model as bytes; None if they are more than `most_bytes`.

    To ask protobuf for the size first would cost as much again.
    """
    try:
        whole = model.SerializeToString()
    except (EncodeError, ValueError):  # beyond what protobuf can
        return None
    return whole if len(whole) <= most_bytes else None


def words_of(model: ModelProto) -> ModelProto:
    """Return a model's metadata and descriptions, and nothing else of it."""
    return ModelProto(
        metadata_props=model.metadata_props,
        doc_string=model.doc_string,
        graph=GraphProto(doc_string=model.graph.doc_string),
    )


def keep_words(model: ModelProto, words: ModelProto) -> None:
    """Give a model the words of the one that it was made from, in place.

    Tools drop them, or add who they are and when they ran, which is no part of the
    model: the same source has to give the same bytes.
    """
    del model.metadata_props[:]
    model.metadata_props.extend(words.metadata_props)
    for to, text in ((model, words.doc_string), (model.graph, words.graph.doc_string)):
        to.ClearField("doc_string")
        if text:
            to.doc_string = text


def artifact_files(path: Path) -> list[Path]:
    """Return the files that make up a model: itself, and its weights if apart."""
    data = _weights_of(path)
    return [path, data] if data.exists() else [path]


def size_of(path: Path) -> int:
    """Return the bytes of a model's files."""
    return sum(file.stat().st_size for file in artifact_files(path))


def remove(path: Path) -> None:
    """Remove a model's files, as far as they are there."""
    path.unlink(missing_ok=True)
    _weights_of(path).unlink(missing_ok=True)


def _weights_of(path: Path) -> Path:
    return path.parent / (path.name + DATA_SUFFIX)


def measure(model: ModelProto, path: Path) -> GraphSize:
    """Count what a written model takes."""
    ops = Counter(node.op_type for node in all_nodes(model.graph))
    return GraphSize(
        bytes=size_of(path),
        nodes=len(model.graph.node),
        ops=dict(sorted(ops.items())),
    )


def opset_of(model: ModelProto) -> int:
    """Return the version of the default operator set."""
    return next(
        (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0
    )


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of the bodies inside of them."""
    for inner in all_graphs(graph):
        yield from inner.node


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the bodies inside of its nodes."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from all_graphs(body)


def bodies(node: NodeProto) -> list[GraphProto]:
    """Return the graphs that a control-flow node carries."""
    found = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    for attribute in node.attribute:
        found += list(attribute.graphs)
    return found


def captured_names(graph: GraphProto) -> set[str]:
    """Return the names that bodies of a graph's nodes take from outside."""
    return {
        name
        for node in graph.node
        for body in bodies(node)
        for inner in all_nodes(body)
        for name in inner.input
    } | {
        output.name
        for node in graph.node
        for body in bodies(node)
        for output in body.output
    }


def name_nodes(model: ModelProto) -> None:
    """Give every node a name of its own in its graph, in place."""
    for graph in all_graphs(model.graph):
        taken: set[str] = set()
        for index, node in enumerate(graph.node):
            if not node.name or node.name in taken:
                node.name = f"{node.op_type}_{index}"
                while node.name in taken:
                    node.name += "_"
            taken.add(node.name)


def value_types(model: ModelProto) -> dict[str, int]:
    """Return the element type of every value of the top graph, as far as known."""
    return _types_in(inferred(model))


def all_value_types(model: ModelProto) -> dict[str, int]:
    """Return those of bodies, too; none of a name with two types in two bodies."""
    found: dict[str, int] = {}
    for graph in all_graphs(inferred(model)):
        for name, kind in _types_in(graph).items():
            found[name] = (
                TensorProto.UNDEFINED if found.get(name, kind) != kind else kind
            )
    return {name: kind for name, kind in found.items() if kind != TensorProto.UNDEFINED}


def inferred(model: ModelProto) -> GraphProto:
    """Return the graph, without large weights, with the shapes of its values."""
    # Types do not depend on weights, and every one of their bytes would be copied into
    # the inference and back.
    return onnx.shape_inference.infer_shapes(_without_weights(model)).graph


def _types_in(graph: GraphProto) -> dict[str, int]:
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.HasField("tensor_type")
    }
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: kind for name, kind in types.items() if kind != TensorProto.UNDEFINED}


def value_shapes(model: ModelProto, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of values, as far as known, for inputs of given shapes."""
    bare = _without_weights(model)
    del bare.graph.value_info[:]
    for value in bare.graph.input:
        for dim, size in zip(
            value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False
        ):
            dim.dim_value = size
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    shapes = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(
            d.HasField("dim_value") for d in kind.shape.dim
        ):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return shapes


def _without_weights(model: ModelProto) -> ModelProto:
    bare = ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        functions=model.functions,
        graph=GraphProto(
            name=model.graph.name,
            node=model.graph.node,
            input=model.graph.input,
            output=model.graph.output,
            value_info=model.graph.value_info,
            sparse_initializer=model.graph.sparse_initializer,
        ),
    )
    for tensor in model.graph.initializer:
        # Smaller ones may be shapes.
        if is_apart(tensor) or len(tensor.raw_data) > 1024:
            bare.graph.initializer.add(
                name=tensor.name,
                data_type=tensor.data_type,
                dims=tensor.dims,
                data_location=TensorProto.EXTERNAL,
            )
        else:
            bare.graph.initializer.append(tensor)
    return bare
