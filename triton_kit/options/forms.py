"""How settings that are no single word are written on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.options.setting import TextForm
from triton_kit.options.shapes import parse_shapes, shape_texts


def _read_ranges(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    return dict(map(_read_range, texts))


def _read_range(text: str) -> tuple[str, tuple[float, float]]:
    name, colon, rest = text.rpartition(":")
    try:
        low, high = (float(part) for part in rest.split(","))
    except ValueError as error:
        raise SpecError(f"range {text!r} is not NAME:LOW,HIGH") from error
    if not colon or not name:
        raise SpecError(f"range {text!r} is not NAME:LOW,HIGH")
    return name, (low, high)


def _read_pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise SpecError(f"option {text!r} is not KEY=VALUE", hint="workspace=2G")
        pairs[name] = value
    return pairs


RANGES = TextForm(
    _read_ranges,
    lambda ranges: [f"{n}:{low},{high}" for n, (low, high) in ranges.items()],
)
PAIRS = TextForm(_read_pairs, lambda pairs: [f"{k}={v}" for k, v in pairs.items()])
PATHS = TextForm(
    lambda texts: tuple(map(Path, texts)),
    lambda paths: [str(p.resolve()) for p in paths],
)
SHAPES = TextForm(parse_shapes, shape_texts)
