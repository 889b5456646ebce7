"""The shapes that a model is verified at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.options.shapes import Profile, ShapeRange
from triton_kit.tensors import DYNAMIC, Shape, Tensor

DEFAULT_AXIS = 2


def check_profiles(
    profiles: Sequence[Profile], inputs: Iterable[Tensor], source: Path | str
) -> None:
    """Hold every profile against the model's inputs.

    Raises:
        SpecError: an input that the model lacks, or a shape that it cannot take.
    """
    known = {tensor.name: tensor for tensor in inputs}
    for profile in profiles:
        for name, bounds in profile.items():
            _check_bounds(name, bounds, known, source)


def _check_bounds(
    name: str, bounds: ShapeRange, known: Mapping[str, Tensor], source: Path | str
) -> None:
    if name not in known:
        raise SpecError(
            f"{source}: shapes are given for input {name!r}, "
            "which the model does not have",
            hint=did_you_mean(name, known),
        )
    shape = known[name].shape
    if not all(fits(shape, s) for s in (bounds.min, bounds.opt, bounds.max)):
        raise SpecError(
            f"{source}: input {name!r} has shape {shape}, which "
            f"min {bounds.min}, opt {bounds.opt}, max {bounds.max} do not fit",
            hint="-1 is an axis that varies; the others are fixed in the file "
            "(--free-batch frees the batch axis)",
        )


def fits(declared: Shape, wanted: Shape) -> bool:
    """Say whether a tensor of a declared shape can have another shape."""
    return len(declared) == len(wanted) and all(
        size in (DYNAMIC, asked) for size, asked in zip(declared, wanted, strict=True)
    )


def full_profiles(
    profiles: Sequence[Profile],
    inputs: Iterable[Tensor],
    *,
    max_batch_size: int | None = None,
) -> tuple[Profile, ...]:
    """Give every input a range in every profile; one profile at least.

    `max_batch_size` is the largest first axis of inputs that have no range.
    """
    tensors = tuple(inputs)
    return tuple(
        {
            t.name: profile.get(t.name) or _default(t.shape, max_batch_size)
            for t in tensors
        }
        for profile in (profiles or ({},))
    )


def _default(shape: Shape, max_batch_size: int | None) -> ShapeRange:
    least = tuple(1 if size == DYNAMIC else size for size in shape)
    some = tuple(DEFAULT_AXIS if size == DYNAMIC else size for size in shape)
    if 0 in shape:  # an axis of no elements is legal, and no range
        raise SpecError(f"a shape of {shape} holds no values")
    if max_batch_size and shape and shape[0] == DYNAMIC:
        some = (max_batch_size, *some[1:])
    return ShapeRange(min=least, opt=some, max=some)


def points_of(profiles: Sequence[Profile]) -> dict[str, dict[str, Shape]]:
    """Return the shapes to verify at: every profile's min, opt and max, each once."""
    points: dict[str, dict[str, Shape]] = {}
    for index, profile in enumerate(profiles):
        for bound in ("min", "opt", "max"):
            shapes = {name: getattr(r, bound) for name, r in profile.items()}
            if shapes not in points.values():
                points[f"profile {index} {bound}"] = shapes
    return points
