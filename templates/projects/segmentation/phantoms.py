"""Made slices of a body with an organ and lesions in it, as a CT scanner stores them.

The same number gives the same volume. The training draws volumes 0 to 39, the scoring
volumes from 1000 on.
"""

from __future__ import annotations

import numpy as np

SIDE = 512
HELD_BACK = 1000
ORGAN, LESION = 1, 2  # 0 is everything else
AIR, FAT, MUSCLE, BONE, VESSEL, TISSUE = -1000, -90, 50, 600, 170, 110


def volume(number: int, slices: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return Hounsfield units, int16, and classes, uint8: (slices, 512, 512)."""
    draw = np.random.default_rng(number)
    body = _Shape(draw, SIDE / 2, SIDE / 2, draw.uniform(185, 225))
    organs = [
        _Shape(
            draw,
            SIDE / 2 + sign * draw.uniform(70, 95),
            draw.uniform(215, 275),
            draw.uniform(42, 62),
        )
        for sign in (-1, 1)
    ]
    bones = [_Shape(draw, SIDE / 2, draw.uniform(350, 380), draw.uniform(22, 30))]
    vessels = [
        _Shape(draw, *draw.uniform(180, 330, 2), draw.uniform(6, 12)) for _ in range(5)
    ]
    # Outside of an organ a bowel has the density of a lesion: only what surrounds it
    # tells them apart.
    bowels = [
        _Shape(draw, *draw.uniform(130, 380, 2), draw.uniform(8, 20)) for _ in range(8)
    ]
    lesions = [
        _Shape(draw, *organ.near(draw), draw.uniform(6, 17))
        for organ in organs
        for _ in range(draw.integers(0, 4))
    ]
    density = draw.uniform(30, 65)
    pictures, classes = [], []
    for depth in np.linspace(-0.5, 0.5, slices):
        is_body, is_inner = body.mask(depth), body.mask(depth, margin=18)
        is_organ = _any(organs, depth) & is_inner
        is_lesion = is_organ & _any(lesions, depth)
        units = np.full((SIDE, SIDE), AIR, np.float32)
        units[is_body], units[is_inner] = FAT, MUSCLE
        for shapes, value in ((bowels, density), (bones, BONE), (vessels, VESSEL)):
            units[_any(shapes, depth) & is_inner] = value
        units[is_organ], units[is_lesion] = TISSUE, density
        noise = _blurred(draw.normal(0, 55, units.shape).astype(np.float32))
        pictures.append((_blurred(units) + noise).round().astype(np.int16))
        classes.append(np.where(is_lesion, LESION, is_organ * ORGAN).astype(np.uint8))
    return np.stack(pictures), np.stack(classes)


class _Shape:
    """A round shape with an uneven border, which changes slowly from slice to slice."""

    def __init__(
        self, draw: np.random.Generator, x: float, y: float, radius: float
    ) -> None:
        self._x, self._y, self._radius = x, y, radius
        self._drift = draw.uniform(-0.15, 0.15, 2) * radius
        self._waves = draw.normal(0, 0.05, (3, 2))
        self._flat = draw.uniform(0.8, 1.0)

    def near(self, draw: np.random.Generator) -> tuple[float, float]:
        """Draw a point in the shape's inner part."""
        turned, far = draw.uniform(0, 2 * np.pi), draw.uniform(0, 0.75) * self._radius
        return self._x + far * np.cos(turned), self._y + far * self._flat * np.sin(
            turned
        )

    def mask(self, depth: float, *, margin: float = 0) -> np.ndarray:
        """Return where the shape is in a slice, bool, shape (512, 512)."""
        x, y = self._x + depth * self._drift[0], self._y + depth * self._drift[1]
        reach = 1.4 * self._radius
        window = tuple(
            slice(max(0, int(middle - reach)), min(SIDE, int(middle + reach)))
            for middle in (y, x)
        )
        rows, columns = np.ogrid[window]
        right, down = columns - x, (rows - y) / self._flat
        far, turned = np.hypot(right, down), np.arctan2(down, right)
        border = sum(
            a * np.cos((k + 2) * turned) + b * np.sin((k + 2) * turned)
            for k, (a, b) in enumerate(self._waves)
        )
        found = np.zeros((SIDE, SIDE), bool)
        limit = self._radius * (1 - depth**2) * (1 + border) - margin
        found[window] = far < limit
        return found


def _any(shapes: list[_Shape], depth: float) -> np.ndarray:
    """Return where at least one of the shapes is in a slice."""
    found = np.zeros((SIDE, SIDE), bool)
    for shape in shapes:
        found |= shape.mask(depth)
    return found


def _blurred(units: np.ndarray) -> np.ndarray:
    """Average each pixel with its neighbours, as a scanner's resolution does."""
    for axis in (0, 1):
        units = (np.roll(units, 1, axis) + 2 * units + np.roll(units, -1, axis)) / 4
    return units


def dice(found: np.ndarray, truth: np.ndarray, label: int) -> float:
    """Return twice the common pixels over the sum of both; 1 if there are none."""
    one, other = found == label, truth == label
    total = one.sum() + other.sum()
    return float(2 * (one & other).sum() / total) if total else 1.0
