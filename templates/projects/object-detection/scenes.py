"""Made scenes of circles, squares and triangles, and how well boxes fit their objects.

The same number gives the same scene. The training draws scenes 0 to 2999, the scoring
scenes from 1,000,000 on.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("circle", "square", "triangle")
HELD_BACK = 1_000_000
FINE = 2  # pixels are drawn this many times smaller, then averaged


class Object(NamedTuple):
    """What is where in a picture: left, top, right and bottom in pixels."""

    name: str
    score: float
    box: tuple[float, float, float, float]


def scene(number: int) -> tuple[bytes, list[Object]]:
    """Return a JPEG of 128 to 192 pixels a side, and its zero to six objects."""
    draw_number = np.random.default_rng(number)
    width, height = (int(side) for side in draw_number.integers(128, 193, 2))
    colours = draw_number.integers(30, 226, (2, 3))
    shade = np.linspace(0, 1, width)[None, :, None]
    ground = colours[0] * (1 - shade) + (colours[0] * 0.5 + colours[1] * 0.5) * shade
    canvas = Image.fromarray(
        np.broadcast_to(ground, (height, width, 3)).astype(np.uint8)
    ).resize((width * FINE, height * FINE))
    pen = ImageDraw.Draw(canvas)
    for _ in range(draw_number.integers(0, 6)):  # lines are no objects
        ends = draw_number.uniform(0, width * FINE, 4).tolist()
        colour = tuple(draw_number.integers(0, 256, 3).tolist())
        pen.line(ends, fill=colour, width=int(draw_number.integers(2, 6)))
    found: list[Object] = []
    for _ in range(draw_number.integers(0, 7)):
        name = NAMES[draw_number.integers(len(NAMES))]
        outline = _outline(name, draw_number, width, height)
        box = (*outline.min(0), *outline.max(0))
        if any(overlap(box, other.box) > 0.1 for other in found):
            continue
        colour = draw_number.integers(0, 256, 3)
        while np.abs(colour - colours[0]).sum() < 150:
            colour = draw_number.integers(0, 256, 3)
        points = [tuple(point) for point in (outline * FINE).tolist()]
        pen.polygon(points, fill=tuple(colour.tolist()))
        found.append(Object(name, 1.0, tuple(float(side) for side in box)))
    pixels = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), float)
    noise = draw_number.normal(0, draw_number.uniform(2, 10), pixels.shape)
    noisy = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
    stream = io.BytesIO()
    noisy.save(stream, "JPEG", quality=85)
    return stream.getvalue(), found


def _outline(
    name: str, draw_number: np.random.Generator, width: int, height: int
) -> np.ndarray:
    """Return the corners of an object inside the picture, float64, shape (n, 2)."""
    corners = {"circle": 48, "square": 4, "triangle": 3}[name]
    radius = draw_number.uniform(11, 34)
    turned = draw_number.uniform(0, 2 * math.pi)
    angles = turned + np.arange(corners) * 2 * math.pi / corners
    centre = draw_number.uniform(radius, np.array([width, height]) - radius)
    return centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection over union of two boxes."""
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return wide * high / (areas - wide * high)


def mean_average_precision(
    found: Sequence[Sequence[Object]], truth: Sequence[Sequence[Object]]
) -> float:
    """Return the area under precision over recall, averaged over the classes.

    A box is right if it overlaps an object of its class by 0.5, and no box of a higher
    score has that object.
    """
    return float(np.mean([_average_precision(name, found, truth) for name in NAMES]))


def _average_precision(
    name: str, found: Sequence[Sequence[Object]], truth: Sequence[Sequence[Object]]
) -> float:
    missing = [[o.box for o in objects if o.name == name] for objects in truth]
    total = sum(len(boxes) for boxes in missing)
    ranked = sorted(
        (
            (o.score, at, o.box)
            for at, one in enumerate(found)
            for o in one
            if o.name == name
        ),
        reverse=True,
    )
    hits = []
    for _, at, box in ranked:
        best = max(missing[at], key=lambda other: overlap(box, other), default=None)
        is_hit = best is not None and overlap(box, best) >= 0.5
        hits.append(is_hit)
        if is_hit:
            missing[at].remove(best)
    recall = np.cumsum(hits) / total
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.diff(recall, prepend=0) @ best_from_here)
