"""Read a large model: its graph into memory, its large weights into a file."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import IO

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, checker
from onnx.external_data_helper import load_external_data_for_tensor

from triton_kit.conversion.onnx.onnx_file import load_failed, load_onnx
from triton_kit.conversion.onnx.weight_files import (
    Place,
    apart_from_bytes,
    can_be_apart,
    new_folder,
    put_apart,
)
from triton_kit.conversion.output_files import FULL
from triton_kit.wire import Field, as_bytes, as_int, header, spans

_GRAPH, _INITIALIZER, _DATA_TYPE, _RAW_DATA = 7, 5, 2, 9
_CHUNK_BYTES = 1 << 22


def load_apart(path: Path, *, model_bytes: int) -> ModelProto:
    """Read a model; large weights of a large one go to a file in the scratch folder.

    Args:
        path: an ONNX file.
        model_bytes: its size, weights beside it included.

    Raises:
        ConvertError: missing, cut short, no ONNX, or its weight files are missing.
    """
    least = apart_from_bytes(model_bytes)
    if least is None:
        return load_onnx(path)
    file = new_folder() / "weights.bin"
    try:
        with file.open("wb") as weights:
            reader = _Reader(path, weights, file, least)
            return reader.read()
    except (DecodeError, OSError, ValueError, checker.ValidationError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise  # it is the scratch folder that is full
        raise load_failed(path, error) from error


class _Reader:
    """Copies the weights of one model to a file."""

    def __init__(self, path: Path, weights: IO[bytes], file: Path, least: int) -> None:
        self._path, self._weights, self._file = path, weights, file
        self._least = least

    def read(self) -> ModelProto:
        """Return the graph, whose large weights are in the file now."""
        with self._path.open("rb") as source:
            view = memoryview(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))
            model = ModelProto()
            for field in spans(view):
                if field.number == _GRAPH:
                    graph = self._graph(as_bytes(field.value))
                    model.MergeFromString(header(_GRAPH, len(graph)) + graph)
                else:
                    model.MergeFromString(bytes(view[field.begin : field.end]))
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                self._take_in(tensor)
        return model

    def _graph(self, view: memoryview) -> bytes:
        pieces = []
        for field in spans(view):
            tensor = self._tensor(field) if field.number == _INITIALIZER else None
            if tensor is None:
                pieces.append(bytes(view[field.begin : field.end]))
            else:
                pieces += [header(_INITIALIZER, len(tensor)), tensor]
        return b"".join(pieces)

    def _tensor(self, field: Field) -> bytes | None:
        """Return a weight whose values are in the file now; None if it stays."""
        view = as_bytes(field.value)
        if len(view) < self._least:
            return None
        found = list(spans(view))
        kind = next((as_int(f.value) for f in found if f.number == _DATA_TYPE), 0)
        values = [as_bytes(f.value) for f in found if f.number == _RAW_DATA]
        if not can_be_apart(kind) or len(values) != 1:
            return None
        tensor = TensorProto()
        for part in found:
            if part.number != _RAW_DATA:
                tensor.MergeFromString(bytes(view[part.begin : part.end]))
        place = self._begin(len(values[0]))
        self._weights.write(values[0])
        put_apart(tensor, place)
        return bytes(tensor.SerializeToString())

    def _begin(self, size: int) -> Place:
        # Aligned, as a file is mapped by numbers of whole bytes.
        self._weights.seek(-self._weights.tell() % 64, 1)
        return Place(self._file, self._weights.tell(), size)

    def _take_in(self, tensor: TensorProto) -> None:
        """Copy weights that lie beside the model; small ones into the graph."""
        found = {entry.key: entry.value for entry in tensor.external_data}
        if found["location"] == str(self._file):
            return
        size, source = int(found.get("length", 0)), self._path.parent
        named = (source / found["location"]).resolve()
        is_inside = named.is_relative_to(source.resolve())
        if size < self._least or not is_inside or not can_be_apart(tensor.data_type):
            # It refuses what leads out of the folder.
            load_external_data_for_tensor(tensor, str(source))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
            return
        place = self._begin(size)
        with named.open("rb") as file:
            file.seek(int(found.get("offset", 0)))
            left = size
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                self._weights.write(chunk)
                left -= len(chunk)
        if left:
            raise ValueError(f"{named.name} ends {left} bytes too early")
        put_apart(tensor, place)
