"""Batch sizes and shapes to measure one after another, each with every load."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from triton_kit.errors import SpecError
from triton_kit.tensors import Shape

_MOST_SIZES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One batch size and the shapes of inputs that vary."""

    batch_size: int = 1
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    def name(self, others: Sequence[Variant]) -> str:
        """Say what tells this variant from the others; empty if there are none."""
        words = []
        if len({other.batch_size for other in others}) > 1:
            words.append(f"batch {self.batch_size}")
        for name, shape in self.shapes.items():
            if len({other.shapes[name] for other in others}) > 1:
                words.append(f"{name}:{'x'.join(map(str, shape))}")
        return ", ".join(words)


def parse_batch_sizes(text: str) -> list[int]:
    """Read `8`, `1,2,4`, `START:END:STEP`, or `START:END:xFACTOR`; END is included.

    Raises:
        SpecError: it is none of them.
    """
    hint = "such as 8, 1,2,4, 4:16:4 or 1:64:x2"
    try:
        if ":" not in text:
            return [int(size) for size in text.split(",")]
        start, end, *steps = text.split(":")
        step = steps[0] if steps else "1"
        sizes = _sizes(int(start), int(end), int(step.removeprefix("x")), step[:1])
    except ValueError:
        raise SpecError(
            f"batch size {text!r}: need a whole number", hint=hint
        ) from None
    if len(steps) > 1 or not sizes:
        raise SpecError(f"batch size {text!r}: no such range", hint=hint)
    if len(sizes) > _MOST_SIZES:
        raise SpecError(f"batch size {text!r}: {len(sizes)} sizes, 1000 at most")
    return sizes


def _sizes(start: int, end: int, step: int, mark: str) -> list[int]:
    if mark != "x":
        return [*range(start, end + 1, step)] if step > 0 else []
    if step < 2 or start < 1:
        return []
    powers = (start * step**n for n in itertools.count())
    return [*itertools.takewhile(lambda size: size <= end, powers)]


def sweep(
    batch_sizes: Sequence[int], shapes: Mapping[str, Sequence[Shape]]
) -> tuple[Variant, ...]:
    """Return every batch size with every set of shapes.

    The first shapes of all inputs belong together, and the second ones; an input with
    one shape has it in all of them.

    Raises:
        SpecError: two inputs have different numbers of shapes.
    """
    counts = {name: len(each) for name, each in shapes.items() if len(each) > 1}
    if len({*counts.values()}) > 1:
        words = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise SpecError(
            f"--shape: {words} shapes, which do not pair up",
            hint="as many shapes for each input, or one",
        )
    return tuple(
        Variant(
            batch_size=size,
            shapes={name: each[place % len(each)] for name, each in shapes.items()},
        )
        for size in batch_sizes
        for place in range(max(counts.values(), default=1))
    )
