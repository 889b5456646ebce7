"""Shapes as trtexec writes them, and the shapes that a model is tried at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from triton_kit.conversion.spec import Profile, ShapeRange
from triton_kit.errors import SpecError, did_you_mean
from triton_kit.tensors import DYNAMIC, Shape, Tensor

DEFAULT_AXIS = 2
_FORM = "NAME:MIN,OPT,MAX, such as x:1x3x224x224,8x3x224x224,32x3x224x224"


def parse_shapes(texts: Iterable[str]) -> tuple[Profile, ...]:
    """Read `x:1x8,4x8,16x8` texts into optimisation profiles.

    One shape instead of three is all three. An input that comes again begins the next
    profile; inputs that a later profile leaves out keep the first one's shapes.

    Raises:
        SpecError: a text is not of that form.
    """
    profiles: list[dict[str, ShapeRange]] = []
    for text in texts:
        name, bounds = _parse_one(text)
        if not profiles or name in profiles[-1]:
            profiles.append({})
        profiles[-1][name] = bounds
    return tuple(profiles[0] | profile for profile in profiles)


def _parse_one(text: str) -> tuple[str, ShapeRange]:
    name, colon, rest = text.rpartition(":")  # tensor names may hold colons
    parts = rest.split(",")
    if not colon or not name or len(parts) not in (1, 3):
        raise SpecError(f"shapes {text!r} are not {_FORM}")
    shapes = [_parse_shape(part, text) for part in parts]
    least, best, most = shapes * 3 if len(shapes) == 1 else shapes
    return name, ShapeRange(min=least, opt=best, max=most)


def _parse_shape(text: str, whole: str) -> Shape:
    try:
        return tuple(int(size) for size in text.split("x"))
    except ValueError as error:
        raise SpecError(
            f"shapes {whole!r}: {text!r} is not a shape: {_FORM}"
        ) from error


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
            hint="-1 is an axis that varies; the others are fixed in the file",
        )


def fits(declared: Shape, trial: Shape) -> bool:
    """Say whether a tensor of a declared shape can have a trial shape."""
    return len(declared) == len(trial) and all(
        size in (DYNAMIC, wanted) for size, wanted in zip(declared, trial, strict=True)
    )


def full_profiles(
    profiles: Sequence[Profile], inputs: Iterable[Tensor]
) -> tuple[Profile, ...]:
    """Give every input a range in every profile; one profile at least."""
    tensors = tuple(inputs)
    return tuple(
        {t.name: profile.get(t.name) or _default(t.shape) for t in tensors}
        for profile in (profiles or ({},))
    )


def _default(shape: Shape) -> ShapeRange:
    least = tuple(1 if size == DYNAMIC else size for size in shape)
    some = tuple(DEFAULT_AXIS if size == DYNAMIC else size for size in shape)
    if 0 in shape:  # an axis of no elements is legal, and no range
        raise SpecError(f"a shape of {shape} holds no values")
    return ShapeRange(min=least, opt=some, max=some)


def trial_points(profiles: Sequence[Profile]) -> dict[str, dict[str, Shape]]:
    """Return the shapes to try: every profile's min, opt and max, each once."""
    points: dict[str, dict[str, Shape]] = {}
    for index, profile in enumerate(profiles):
        for bound in ("min", "opt", "max"):
            shapes = {name: getattr(r, bound) for name, r in profile.items()}
            if shapes not in points.values():
                points[f"profile {index} {bound}"] = shapes
    return points
