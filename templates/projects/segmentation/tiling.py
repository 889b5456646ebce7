"""A slice of any size becomes tiles of one size, and tiles become a slice again.

Tiles overlap: of each, only the part is used that has 16 pixels of surroundings.
"""

import numpy as np

TILE = 128
MARGIN = 16
STEP = TILE - 2 * MARGIN
MOST_TILES = 64


def cut(image: np.ndarray) -> np.ndarray:
    """Return float32 tiles, shape (n, 1, 128, 128), row by row.

    Raises:
        ValueError: the image is empty, or needs more than 64 tiles.
    """
    rows, columns = grid(image.shape)
    if rows * columns == 0 or rows * columns > MOST_TILES:
        raise ValueError(
            f"{image.shape[0]}x{image.shape[1]} pixels need {rows * columns} tiles, "
            f"the limits are 1 and {MOST_TILES}"
        )
    below, right = rows * STEP - image.shape[0], columns * STEP - image.shape[1]
    sides = ((MARGIN, MARGIN + below), (MARGIN, MARGIN + right))
    padded = np.pad(image, sides, mode="edge").astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (TILE, TILE))
    return windows[::STEP, ::STEP].reshape(-1, 1, TILE, TILE)


def join(tiles: np.ndarray, size: "tuple[int, int]") -> np.ndarray:
    """Return the classes of a slice, uint8, from those of its tiles, (n, 128, 128)."""
    rows, columns = grid(size)
    middles = tiles[:, MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.uint8)
    table = middles.reshape(rows, columns, STEP, STEP).transpose(0, 2, 1, 3)
    return table.reshape(rows * STEP, columns * STEP)[: size[0], : size[1]]


def grid(size: "tuple[int, ...]") -> "tuple[int, int]":
    """Return the number of tiles down and across."""
    return -(-size[0] // STEP), -(-size[1] // STEP)
