"""The ONNX file that a source is, or was exported to, with what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.conversion.onnx.weight_reader import load_apart


@dataclass(frozen=True, slots=True)
class SourceModel:
    """An ONNX file whose inputs and outputs were read once.

    `framework` runs what it was exported from, for the outputs of the original; None
    for an ONNX file. `estimator` is a pickled one of scikit-learn's, `example` an .npz
    of rows for it. `notes` say how it differs from the user's file.
    """

    path: Path
    facts: OnnxModel
    framework: str | None = None
    estimator: Path | None = None
    example: Path | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        framework: str | None = None,
        estimator: Path | None = None,
        example: Path | None = None,
    ) -> SourceModel:
        """Read what a file says of itself.

        Raises:
            ConvertError: it is no ONNX model, or is cut short.
        """
        return cls(path, inspect_onnx(path), framework, estimator, example)

    def load(self) -> ModelProto:
        """Return the graph; large weights may stay in files (`weight_files`)."""
        return load_apart(self.path, model_bytes=self.bytes)

    @property
    def bytes(self) -> int:
        """Its size, weights beside it included."""
        apart = [self.path.parent / name for name in self.facts.external_files]
        files = (self.path, *apart)
        return sum(file.stat().st_size for file in files if file.is_file())
