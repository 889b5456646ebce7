"""A picture's boxes and curves in pixels: layers from left to right, few crossings.

Each box is one layer right of the last box that it reads from. An edge over several
layers passes through a bend in each, so that it goes around the boxes in between.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from triton_kit.repository.drawing import Picture, calls_of, ends_of

Kind = Literal["input", "output", "step", "call", "bend"]
# Of a monospaced font of 13 pixels.
CHARACTER, LINE = 7.83, 18.0
MARGIN, GAP = 16.0, 22.0
_PAD_X, _PAD_Y, _LONGEST = 12.0, 8.0, 40
_SWEEPS = 4


@dataclass(slots=True)
class Box:
    """One node: its lines of text, and its place; x and y are its top left corner."""

    key: str
    kind: Kind
    lines: tuple[str, ...] = ()
    layer: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        """Width in pixels."""
        longest = max((text_width(line) for line in self.lines), default=0.0)
        return longest + 2 * _PAD_X if self.lines else 0.0

    @property
    def height(self) -> float:
        """Height in pixels."""
        return len(self.lines) * LINE + 2 * _PAD_Y if self.lines else LINE

    @property
    def middle(self) -> float:
        """The height at which edges arrive."""
        return self.y + self.height / 2


@dataclass(slots=True)
class Curve:
    """An edge through its bends, and where its label stands (centre)."""

    boxes: tuple[Box, ...]
    label: tuple[str, ...]
    is_call: bool = False
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class Layout:
    """A picture in pixels."""

    picture: Picture
    boxes: list[Box] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def text_width(text: str) -> float:
    """Return the width of a text in pixels; ideographs are twice as wide."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return (len(text) + wide) * CHARACTER


def shortened(text: str) -> str:
    """Return a text that fits a box."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def place(picture: Picture) -> Layout:
    """Return where everything of a picture stands."""
    boxes = _boxes(picture)
    links = _links(picture)
    _set_layers(boxes, [ends for ends, _, is_call in links if not is_call])
    for (source, target), _, is_call in links:
        if is_call and boxes[target].kind == "call":
            boxes[target].layer = boxes[source].layer + 1
    placed = Layout(picture, [*boxes.values()])
    for (source, target), label, is_call in links:
        bends = _bends(boxes[source], boxes[target])
        placed.boxes += bends
        through = (boxes[source], *bends, boxes[target])
        placed.curves.append(Curve(through, label, is_call))
    layers = _ordered(placed)
    _set_places(placed, layers)
    _set_labels(placed.curves)
    return placed


def _boxes(picture: Picture) -> dict[str, Box]:
    """Return the nodes by the keys that the other formats use."""
    boxes: dict[str, Box] = {}
    kinds: tuple[tuple[Literal["input", "output"], tuple[str, ...]], ...] = (
        ("input", picture.inputs),
        ("output", picture.outputs),
    )
    for kind, tensors in kinds:
        if tensors:
            boxes[kind] = Box(kind, kind, tuple(shortened(line) for line in tensors))
    for number, model in enumerate(picture.steps, 1):
        boxes[f"s{number}"] = Box(f"s{number}", "step", (shortened(model) or "?",))
    for _, target, model in calls_of(picture):
        boxes.setdefault(target, Box(target, "call", (shortened(model) or "?",)))
    return boxes


_Link = tuple[tuple[str, str], tuple[str, ...], bool]


def _links(picture: Picture) -> list[_Link]:
    """Return the edges, one for all tensors between the same two nodes."""
    tensors: dict[tuple[str, str], list[str]] = {}
    for source, target, tensor in ends_of(picture):
        tensors.setdefault((source, target), []).append(shortened(tensor))
    links: list[_Link] = [
        (ends, tuple(names), False) for ends, names in tensors.items()
    ]
    for source, target, _ in calls_of(picture):
        if source != target:
            links.append(((source, target), ("calls",), True))
    return list(dict.fromkeys(links))


def _set_layers(boxes: Mapping[str, Box], edges: Sequence[tuple[str, str]]) -> None:
    """Move each box right of those that it reads; the outputs are the last layer."""
    forward = _without_circles(edges)
    for _ in boxes:
        for source, target in forward:
            right = boxes[source].layer + 1
            boxes[target].layer = max(boxes[target].layer, right)
    last = max((box.layer for box in boxes.values() if box.kind != "output"), default=0)
    if "output" in boxes:
        boxes["output"].layer = last + 1


def _without_circles(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out the edges that close a circle, which no server loads."""
    reached: dict[str, set[str]] = {}  # by box: all that lead to it, and itself
    kept = []
    for source, target in edges:
        before = reached.setdefault(source, {source})
        if target in before:
            continue
        kept.append((source, target))
        reached.setdefault(target, {target})
        for after in reached.values():
            if target in after:
                after |= before
    return kept


def _bends(source: Box, target: Box) -> list[Box]:
    between = range(source.layer + 1, target.layer)
    return [Box("", "bend", layer=layer) for layer in between]


def _ordered(placed: Layout) -> list[list[Box]]:
    """Return the layers, each in the order of the boxes that its boxes connect to."""
    count = max((box.layer for box in placed.boxes), default=-1) + 1
    layers: list[list[Box]] = [[] for _ in range(count)]
    for box in placed.boxes:
        layers[box.layer].append(box)
    near = _neighbours(placed.curves)
    for sweep in range(_SWEEPS):
        ranks = {id(box): i for layer in layers for i, box in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            means = {
                id(box): _mean(
                    [ranks[n] for n in near.get(id(box), ())], ranks[id(box)]
                )
                for box in layer
            }
            layer.sort(key=lambda box: means[id(box)])
            ranks |= {id(box): i for i, box in enumerate(layer)}
    return [layer for layer in layers if layer]


def _neighbours(curves: Iterable[Curve]) -> dict[int, list[int]]:
    near: dict[int, list[int]] = {}
    for curve in curves:
        for one, other in zip(curve.boxes, curve.boxes[1:], strict=False):
            near.setdefault(id(one), []).append(id(other))
            near.setdefault(id(other), []).append(id(one))
    return near


def _mean(values: Sequence[float], without: float) -> float:
    return sum(values) / len(values) if values else without


def _set_places(placed: Layout, layers: Sequence[Sequence[Box]]) -> None:
    """Stack each layer, centred, and leave room for the labels between two of them."""
    heights = [
        sum(box.height for box in layer) + GAP * (len(layer) - 1) for layer in layers
    ]
    tallest = max(heights, default=0.0)
    x = MARGIN
    for layer, height in zip(layers, heights, strict=True):
        width = max(box.width for box in layer)
        y = MARGIN + (tallest - height) / 2
        for box in layer:
            box.x = x + (width - box.width) / 2
            box.y = y
            y += box.height + GAP
        x += width + _label_room(placed.curves, layer)
    placed.width = (
        max((box.x + box.width for box in placed.boxes), default=0.0) + MARGIN
    )
    placed.height = tallest + 2 * MARGIN


def _label_room(curves: Iterable[Curve], layer: Sequence[Box]) -> float:
    starts = {id(box) for box in layer}
    labels = [
        text_width(line)
        for curve in curves
        if id(curve.boxes[0]) in starts
        for line in curve.label
    ]
    return max(labels, default=0.0) + 48.0


def _set_labels(curves: Sequence[Curve]) -> None:
    """Put each label on the first stretch of its curve; push apart those that touch."""
    put: list[tuple[float, float, float, float]] = []
    for curve in sorted(curves, key=lambda c: c.boxes[1].middle):
        source, target = curve.boxes[0], curve.boxes[1]
        start, end = source.x + source.width, target.x
        curve.x = (start + end) / 2
        half = len(curve.label) * LINE / 2
        wide = max(text_width(line) for line in curve.label) / 2
        y = (source.middle + target.middle) / 2
        for left, right, top, bottom in sorted(put, key=lambda one: one[2]):
            apart = curve.x + wide < left or right < curve.x - wide
            if not apart and top < y + half and y - half < bottom:
                y = bottom + half
        curve.y = y
        put.append((curve.x - wide, curve.x + wide, y - half, y + half))
