"""Whatever a source is, it becomes an ONNX file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.sources.bfloat16 import fit_bfloat16
from triton_kit.conversion.sources.function import source_from_function
from triton_kit.conversion.sources.tensorflow import onnx_from_tensorflow
from triton_kit.conversion.sources.torch import source_from_torch
from triton_kit.conversion.sources.zipmap import without_zipmap
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError, SpecError

Kind = Literal["onnx", "torch", "tensorflow", "function"]
_KINDS: dict[str, Kind] = {
    ".onnx": "onnx",
    ".pt2": "torch",
    ".pt": "torch",
    ".ts": "torch",
    ".keras": "tensorflow",
}


def source_kind(source: Path | str) -> Kind:
    """Say which framework a source is of.

    Raises:
        SpecError: it is not there, or of none.
    """
    if isinstance(source, str):
        return "function"  # package.module:function
    if not source.exists():
        raise SpecError(
            f"{source}: no such file or folder",
            hint="a function that returns a model is named package.module:function",
        )
    if source.is_dir():
        if (source / "saved_model.pb").is_file():
            return "tensorflow"
        raise SpecError(f"{source}: a folder, but not a SavedModel")
    kind = _KINDS.get(source.suffix.lower())
    if kind is None:
        raise SpecError(
            f"{source}: cannot tell what it is by its ending",
            hint=f"known: {', '.join(_KINDS)}, a SavedModel folder, "
            "package.module:function",
        )
    return kind


def read_source(spec: ConvertSpec, scratch: Path) -> SourceModel:
    """Return the source as an ONNX file: itself, or what its framework exports.

    Raises:
        ConvertError: the framework does not export it, or it is no ONNX model.
        MissingExtraError: the framework is not installed.
    """
    kind = source_kind(spec.source)
    if kind == "function":
        return source_from_function(spec, scratch)
    if kind == "torch":
        return source_from_torch(spec, scratch)
    if kind == "tensorflow":
        return SourceModel.read(onnx_from_tensorflow(spec, scratch))
    return fit_bfloat16(_read_onnx(Path(spec.source), scratch), spec, scratch)


def _read_onnx(source: Path, scratch: Path) -> SourceModel:
    try:
        return SourceModel.read(source)
    except ConvertError:
        found = None
        with suppress(
            ConvertError
        ):  # it is no ONNX file at all: the first error says so
            found = without_zipmap(source, scratch)
        if found is None:
            raise
    path, notes = found
    return replace(SourceModel.read(path), notes=notes)
