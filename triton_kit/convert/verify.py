"""Compare two models' answers, in a child process: ONNX Runtime can end its process."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from triton_kit.convert.spec import DEFAULT_AXIS, ShapeRange
from triton_kit.errors import VerifyError
from triton_kit.process import run_child
from triton_kit.tensors import DYNAMIC, Shape, Tensor

REASON_LINES = 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the answers of two models are apart, over every output and shape."""

    max_abs_error: float
    max_abs_value: float

    @property
    def is_equal(self) -> bool:
        """Whether the difference is float32 rounding, for the largest value's size."""
        return self.max_abs_error <= 1e-5 * self.max_abs_value + 1e-9


def compare(
    original: Path,
    candidate: Path,
    *,
    inputs: tuple[Tensor, ...],
    shapes: Mapping[str, ShapeRange],
    seed: int,
    deadline_s: float,
) -> Comparison:
    """Run both models on the same random inputs at the least, best and largest shape.

    ONNX Runtime runs the original with optimisations off.

    Raises:
        VerifyError: a model does not run, its process died or took too long.
    """
    order = {
        "original": str(original),
        "candidate": str(candidate),
        "seed": seed,
        "inputs": [
            {
                "name": t.name,
                "dtype": t.dtype.name,
                "shapes": list(trial_shapes(t, shapes)),
            }
            for t in inputs
        ],
    }
    argv = [sys.executable, "-m", "triton_kit.convert.compare_worker"]
    done = run_child(argv, deadline_s=deadline_s, stdin=json.dumps(order))
    if done.exit_code != 0:
        reason = " ".join(done.stderr.strip().splitlines()[-REASON_LINES:])
        raise VerifyError(
            f"{original}: could not compare it with its rewritten form "
            f"({done.ending}): {reason}"
        )
    return Comparison(**json.loads(done.stdout))


def trial_shapes(
    tensor: Tensor, shapes: Mapping[str, ShapeRange]
) -> tuple[Shape, Shape, Shape]:
    """Return the shapes to try an input at: at its bounds and at its best."""
    if given := shapes.get(tensor.name):
        return given.min, given.opt, given.max
    small = tuple(1 if size == DYNAMIC else size for size in tensor.shape)
    some = tuple(DEFAULT_AXIS if size == DYNAMIC else size for size in tensor.shape)
    return small, some, some
