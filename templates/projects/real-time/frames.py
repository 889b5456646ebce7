"""Made frames of a camera: a ball of one of many sizes on a changing background."""

import numpy as np

SIZE = 96  # pixels
ROWS, COLUMNS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def frame(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame, uint8 (1, 96, 96), and the ball's centre (column, row)."""
    column, row = generator.uniform(8, SIZE - 8, 2)
    radius = generator.uniform(3, 7)
    angle, shift = generator.uniform(0, 2 * np.pi, 2)
    length = generator.uniform(15, 60)
    along = COLUMNS * np.cos(angle) + ROWS * np.sin(angle)
    ground = 90 + 30 * np.sin(2 * np.pi * along / length + shift)
    distance = np.hypot(COLUMNS - column, ROWS - row)
    ball = np.clip(radius + 0.5 - distance, 0, 1) * generator.uniform(60, 110)
    pixels = ground + ball + generator.normal(0, 8, (SIZE, SIZE))
    centre = np.float32([column, row])
    return np.clip(pixels, 0, 255).astype(np.uint8)[np.newaxis], centre


def frames(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return frames, uint8 (count, 1, 96, 96), and centres, float32 (count, 2)."""
    generator = np.random.default_rng(seed)
    pixels, centres = zip(*(frame(generator) for _ in range(count)), strict=True)
    return np.stack(pixels), np.stack(centres)
