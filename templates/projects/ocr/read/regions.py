"""Where the text is: the detector's map becomes boxes."""

import numpy as np

IS_TEXT = 0.3  # of a pixel
LEAST_SCORE = 0.5  # mean of a box
LEAST_SIDE = 3
GROWTH = 1.6  # the map shows lines thinner than they are


def boxes(found: np.ndarray) -> np.ndarray:
    """Return left, top, right, bottom of each line, int, shape (n, 4).

    Args:
        found: how likely each pixel is text, float, shape (height, width).
    """
    height, width = found.shape
    kept = []
    for left, top, right, bottom in regions(_thicker(found > IS_TEXT)):
        wide, high = right - left, bottom - top
        score = found[top:bottom, left:right].mean()
        if min(wide, high) < LEAST_SIDE or score < LEAST_SCORE:
            continue
        more = round(wide * high * GROWTH / (2 * (wide + high)))
        kept.append(
            [
                max(0, left - more),
                max(0, top - more),
                min(width, right + more),
                min(height, bottom + more),
            ]
        )
    return np.array(kept, int).reshape(-1, 4)


def regions(mask: np.ndarray) -> np.ndarray:
    """Return the box of each connected region of a mask, int, shape (n, 4)."""
    edges = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, begins = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first = np.searchsorted(rows, np.arange(mask.shape[0] + 1)).tolist()
    for row in range(1, mask.shape[0]):
        above, here = first[row - 1], first[row]
        while above < first[row] and here < first[row + 1]:
            if begins[above] <= ends[here] and begins[here] <= ends[above]:
                parent[root(here)] = root(above)
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1
    _, group = np.unique([root(run) for run in parent], return_inverse=True)
    found = np.zeros((group.max(initial=-1) + 1, 4), int)
    found[:, :2] = max(mask.shape)
    for column, values, extreme in (
        (0, begins, np.minimum),
        (1, rows, np.minimum),
        (2, ends, np.maximum),
        (3, rows + 1, np.maximum),
    ):
        extreme.at(found[:, column], group, values)
    return found


def _thicker(mask: np.ndarray) -> np.ndarray:
    """Join what is a pixel apart."""
    more = mask.copy()
    more[1:] |= mask[:-1]
    more[:, 1:] |= more[:, :-1]
    return more
