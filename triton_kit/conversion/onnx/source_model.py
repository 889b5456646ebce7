"""The ONNX file that a source is, or was exported to, with what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.conversion.onnx.onnx_file import load_onnx


@dataclass(frozen=True, slots=True)
class SourceModel:
    """An ONNX file whose inputs and outputs were read once.

    `runs_torch`: its outputs come from the torch module that it was exported from.
    `notes` say how it differs from the user's file.
    """

    path: Path
    facts: OnnxModel
    runs_torch: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path, *, runs_torch: bool = False) -> SourceModel:
        """Read what a file says of itself.

        Raises:
            ConvertError: it is no ONNX model, or is cut short.
        """
        return cls(path, inspect_onnx(path), runs_torch)

    def load(self) -> ModelProto:
        """Return the graph with all its weights."""
        return load_onnx(self.path)

    @property
    def bytes(self) -> int:
        """Its size, weights beside it included."""
        apart = [self.path.parent / name for name in self.facts.external_files]
        files = (self.path, *apart)
        return sum(file.stat().st_size for file in files if file.is_file())
