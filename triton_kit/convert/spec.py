"""What to convert, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.tensors import Shape, Tensor

DEFAULT_AXIS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeRange:
    """The shapes one input may take, batch axis included, size by size.

    TensorRT tunes for `opt` and takes anything from `min` to `max`.
    """

    min: Shape
    opt: Shape
    max: Shape

    def __post_init__(self) -> None:
        if len({len(self.min), len(self.opt), len(self.max)}) != 1:
            raise SpecError(
                f"min {self.min}, opt {self.opt} and max {self.max} differ in rank",
                hint="write the batch axis in all three",
            )
        for axis, sizes in enumerate(zip(self.min, self.opt, self.max, strict=True)):
            if not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
                raise SpecError(
                    f"axis {axis}: need 1 <= min <= opt <= max, got {sizes}",
                    hint="an axis that varies still needs a bound",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertSpec:
    """One model file, and where its artifact goes.

    Attributes:
        source: the ONNX file.
        output: the artifact's path; its folder exists.
        shapes: the shapes of inputs that vary. An input left out is checked with
            `DEFAULT_AXIS` for every axis that varies.
        seed: of the random inputs that original and artifact are compared on.
        deadline_s: longest that one child process may take.
    """

    source: Path
    output: Path
    shapes: dict[str, ShapeRange]
    seed: int = 0
    deadline_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertResult:
    """The artifact and what was done for it.

    `notes` are sentences for the reader: a pass that was taken back, and why.
    """

    artifact: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes_before: int
    nodes_after: int
    max_abs_error: float
    notes: tuple[str, ...]
