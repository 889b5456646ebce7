"""Made video: what a fixed camera sees while things pass by.

The same number gives the same video. Thresholds were chosen on cameras 0 to 9, and are
scored on cameras from 1000 on.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 96, 128
HELD_BACK = 1000
Box = tuple[float, float, float, float]  # left, top, right, bottom


def footage(camera: int, frames: int = 100) -> Iterator[tuple[bytes, Box | None]]:
    """Yield a JPEG per frame, and the box of what moves, or None.

    The light changes slowly, the sensor is noisy. Things come one after the other,
    after 15 frames without any.
    """
    draw = np.random.default_rng(camera)
    coarse = draw.uniform(50, 190, (7, 9, 3)).astype(np.uint8)
    size = (WIDTH, HEIGHT)
    scene = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    light, swing = draw.uniform(0.9, 1.1), draw.uniform(0.02, 0.08)
    passing = None
    wait = 15
    for at in range(frames):
        pixels = scene * (light + swing * np.sin(at / 25))
        box = None
        if passing is None and wait == 0:
            passing = _Passing(draw)
        if passing is not None:
            inside = passing.mask(rows, columns)
            pixels[inside] = passing.colour
            passing.move()
            if inside.any():
                down, right = np.nonzero(inside)
                box = (right.min(), down.min(), right.max() + 1.0, down.max() + 1.0)
            elif passing.is_past():
                passing, wait = None, int(draw.integers(5, 15))
        else:
            wait -= 1
        noisy = pixels + draw.normal(0, 4, pixels.shape)
        stream = io.BytesIO()
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        picture.save(stream, "JPEG", quality=80)
        yield stream.getvalue(), box


class _Passing:
    """Something round that crosses the picture at a constant speed."""

    def __init__(self, draw: np.random.Generator) -> None:
        self.colour = draw.choice([draw.uniform(0, 25, 3), draw.uniform(225, 255, 3)])
        self._radius = draw.uniform(7, 15, 2)
        self._to_right = draw.choice([-1, 1])
        self._x = -15.0 if self._to_right > 0 else WIDTH + 15.0
        self._y = draw.uniform(20, HEIGHT - 20)
        self._speed = np.array(
            [self._to_right * draw.uniform(2, 5), draw.uniform(-0.5, 0.5)]
        )

    def mask(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return where it is."""
        right = (columns - self._x) / self._radius[0]
        down = (rows - self._y) / self._radius[1]
        return right**2 + down**2 < 1

    def move(self) -> None:
        """Go on to the next frame."""
        self._x, self._y = np.array([self._x, self._y]) + self._speed

    def is_past(self) -> bool:
        """Whether it has left the picture."""
        return bool((self._x - WIDTH / 2) * self._to_right > WIDTH / 2)


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return wide * high / (areas - wide * high) if areas else 0.0
