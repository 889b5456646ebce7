"""The shapes that an input may take, and how the command line writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from triton_kit.errors import SpecError
from triton_kit.tensors import Shape

_FORM = "NAME:MIN,OPT,MAX, such as x:1x3x224x224,8x3x224x224,32x3x224x224"


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


Profile = Mapping[str, ShapeRange]


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
    if not text:
        return ()  # of a scalar
    try:
        return tuple(int(size) for size in text.split("x"))
    except ValueError as error:
        raise SpecError(
            f"shapes {whole!r}: {text!r} is not a shape: {_FORM}"
        ) from error


def shape_texts(profiles: Sequence[Profile]) -> list[str]:
    """Return the texts that `parse_shapes` reads into these profiles."""
    return [
        f"{name}:{','.join(map(_text, (r.min, r.opt, r.max)))}"
        for profile in profiles
        for name, r in profile.items()
    ]


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
