"""Write a model whose weights are in files, without reading them into memory."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from onnx import ModelProto, TensorProto

from triton_kit.conversion.onnx.weight_files import (
    Place,
    has_apart,
    is_apart,
    place_of,
    put_apart,
)
from triton_kit.conversion.output_files import link_or_copy
from triton_kit.wire import header

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_CHUNK_BYTES = 1 << 22


def write_whole(model: ModelProto, path: Path, *, most_bytes: int) -> bool:
    """Write one file with all weights; say whether it fits in `most_bytes`."""
    bare = _without_initializers(model)
    graph = bare.graph.SerializeToString()
    bare.ClearField("graph")
    parts = [_part(tensor) for tensor in model.graph.initializer]
    size = len(graph) + sum(len(head) + place.size for head, place in parts)
    if size > most_bytes:
        return False
    with path.open("wb") as file:
        file.write(bare.SerializeToString())
        file.write(header(_GRAPH, size) + graph)
        for head, place in parts:
            file.write(head)
            if place.size:
                _copy(place, file)
    return True


def write_beside(model: ModelProto, path: Path, weights: Path) -> None:
    """Write a graph, and the weights that are in files to one file beside it."""
    copy = ModelProto()
    copy.CopyFrom(model)
    with weights.open("wb") as file:
        for tensor in filter(is_apart, copy.graph.initializer):
            place = Place(weights, file.tell(), place_of(tensor).size)
            _copy(place_of(tensor), file)
            put_apart(tensor, place, location=weights.name)
    path.write_bytes(copy.SerializeToString())


def write_linked(model: ModelProto, path: Path) -> bool:
    """Write a graph that names its weights' files, linked beside it.

    For processes that only read it. Says whether it has such weights.
    """
    if not has_apart(model):
        return False
    copy = ModelProto()
    copy.CopyFrom(model)
    names: dict[Path, str] = {}
    for tensor in filter(is_apart, copy.graph.initializer):
        place = place_of(tensor)
        if place.file not in names:
            names[place.file] = f"{path.name}.{len(names)}.weights"
            link = path.parent / names[place.file]
            link.unlink(missing_ok=True)
            link_or_copy(place.file, link)
        put_apart(tensor, place, location=names[place.file])
    path.write_bytes(copy.SerializeToString())
    return True


def _without_initializers(model: ModelProto) -> ModelProto:
    bare = ModelProto()
    bare.CopyFrom(model)  # its weights are in files
    del bare.graph.initializer[:]
    return bare


def _part(tensor: TensorProto) -> tuple[bytes, Place]:
    """Return the bytes of a weight, and the place of those that follow."""
    if not is_apart(tensor):
        text = tensor.SerializeToString()
        return header(_INITIALIZER, len(text)) + text, Place(Path(), 0, 0)
    place, bare = place_of(tensor), TensorProto()
    bare.CopyFrom(tensor)
    bare.ClearField("external_data")
    bare.ClearField("data_location")
    text = bare.SerializeToString() + header(_RAW_DATA, place.size)
    return header(_INITIALIZER, len(text) + place.size) + text, place


def _copy(place: Place, to: IO[bytes]) -> None:
    left = place.size
    with place.file.open("rb") as file:
        file.seek(place.offset)
        while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            to.write(chunk)
            left -= len(chunk)
