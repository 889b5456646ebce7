"""What outputs mean to their users: agreement on the task, next to plain figures.

Every agreement is a share from 0 to 1 over two models' outputs for the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from triton_kit.conversion.verify.detections import (
    Detections,
    Floats,
    is_final,
    read_detections,
)
from triton_kit.conversion.workers.samples import Array, Outputs
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Task

MOST_BOXES = 300  # per image, as detectors keep after suppression
CONFIDENT = 0.25
SAME_BOX_IOU = 0.5
BLANK = 0  # of CTC


def agreement(
    task: Task, original: Sequence[Outputs], candidate: Sequence[Outputs]
) -> float:
    """Return how far two models agree on a task, over all feeds.

    Raises:
        VerifyError: no output has the form that the task needs, or the original
            finds nothing in these inputs.
    """
    pairs = [
        _TASKS[task](left, right)
        for left, right in zip(original, candidate, strict=True)
    ]
    agreed, total = map(sum, zip(*pairs, strict=True))
    if not total:
        raise VerifyError(
            f"task {task}: the original finds nothing in the verification inputs, so "
            "they prove nothing",
            hint="give real samples: --verify-data",
        )
    return float(agreed / total)


def _floats_of(outputs: Outputs, task: str, *ranks: int) -> dict[str, Floats]:
    found = {
        name: array.astype(np.float64)
        for name, array in outputs.items()
        if array.dtype.kind == "f" and array.ndim in ranks
    }
    if not found:
        raise _no_form(task, outputs)
    return found


def _no_form(task: str, outputs: Outputs) -> VerifyError:
    shapes = {name: array.shape for name, array in outputs.items()}
    return VerifyError(
        f"task {task}: no output has its form, they are {shapes}",
        hint="choose the task that the outputs are of, or compare them yourself "
        "(--verify-function)",
    )


def _classification(left: Outputs, right: Outputs) -> tuple[float, float]:
    """Compare the best class of (batch, classes)."""
    agreed = total = 0
    for name, scores in _floats_of(left, "classification", 2).items():
        other = right[name].astype(np.float64)
        agreed += int((scores.argmax(axis=-1) == other.argmax(axis=-1)).sum())
        total += len(scores)
    return agreed, total


def _segmentation(left: Outputs, right: Outputs) -> tuple[float, float]:
    """Compare masks of (batch, classes, height, width): mean IoU of the classes."""
    ious: list[float] = []
    for name, scores in _floats_of(left, "segmentation", 4).items():
        ours, theirs = _classes(scores), _classes(right[name].astype(np.float64))
        for kind in np.unique(ours):
            a, b = ours == kind, theirs == kind
            ious.append(float((a & b).sum() / (a | b).sum()))
    return sum(ious), len(ious)


def _classes(scores: Floats) -> NDArray[np.int64]:
    if scores.shape[1] > 1:
        return np.asarray(scores.argmax(axis=1))
    is_probability = scores.min() >= 0 and scores.max() <= 1
    return (scores[:, 0] > (0.5 if is_probability else 0.0)).astype(np.int64)


def _embedding(left: Outputs, right: Outputs) -> tuple[float, float]:
    """Compare directions: the cosine between the rows of (batch, features)."""
    cosines: list[float] = []
    for name, rows in _floats_of(left, "embedding", 2, 3).items():
        a = rows.reshape(-1, rows.shape[-1])
        b = right[name].astype(np.float64).reshape(a.shape)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        products = (a * b).sum(axis=1)
        cosines += (products[norms > 0] / norms[norms > 0]).tolist()
    return sum(cosines), len(cosines)


def _ctc(left: Outputs, right: Outputs) -> tuple[float, float]:
    """Compare texts that are read from (batch, time, symbols), by edit distance."""
    agreed = total = 0.0
    for name, scores in _floats_of(left, "ctc", 3).items():
        ours, theirs = _texts(scores), _texts(right[name])
        for text, other in zip(ours, theirs, strict=True):
            length = max(len(text), len(other))
            agreed += length - edit_distance(text, other)
            total += length
    return agreed, total


def _texts(scores: Array) -> list[list[int]]:
    best = scores.argmax(axis=-1)
    return [[s for s, _ in groupby(row.tolist()) if s != BLANK] for row in best]


def edit_distance(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the fewest insertions, deletions and replacements between two texts."""
    row = list(range(len(right) + 1))
    for i, symbol in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(right, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, before + (symbol != other))
            before, row[j] = row[j], cost
    return row[-1]


def _detection(left: Outputs, right: Outputs) -> tuple[float, float]:
    """Compare objects: the share that both find, of all that either finds."""
    final = is_final(left)
    ours, theirs = (read_detections(found, final=final) for found in (left, right))
    if ours is None or theirs is None:
        raise _no_form("detection", left)
    is_corners = bool((ours.boxes[..., 2:] >= ours.boxes[..., :2]).all())
    matched = found = 0
    for one, other in zip(
        _objects(ours, is_corners), _objects(theirs, is_corners), strict=True
    ):
        both = _matched(one, other)
        matched += both
        found += len(one) + len(other) - both
    return matched, found


def _objects(found: Detections, is_corners: bool) -> list[Floats]:
    """Return, by image, the confident boxes as rows of x1, y1, x2, y2, score, class."""
    boxes = found.boxes
    if not is_corners:  # centre and size
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        boxes = np.concatenate([middle - half, middle + half], axis=-1)
    images = zip(boxes, found.scores, found.kinds, strict=True)
    return [_confident(*image) for image in images]


def _confident(boxes: Floats, scores: Floats, kinds: Floats) -> Floats:
    order = np.argsort(-scores, kind="stable")[:MOST_BOXES]
    order = order[scores[order] > CONFIDENT]
    return np.column_stack([boxes[order], scores[order], kinds[order]])


def _matched(ours: Floats, theirs: Floats) -> int:
    """Count objects that both found: one class, and boxes that overlap by half."""
    free = np.ones(len(theirs), dtype=bool)
    count = 0
    for row in ours:
        overlap = _ious(row[:4], theirs[:, :4]) * (theirs[:, 5] == row[5]) * free
        if len(overlap) and overlap.max() >= SAME_BOX_IOU:
            free[int(overlap.argmax())] = False
            count += 1
    return count


def _ious(box: Floats, boxes: Floats) -> Floats:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inside = np.prod(np.maximum(high - low, 0), axis=1)
    sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    ious: Floats = inside / np.maximum(sizes - inside, np.finfo(np.float64).tiny)
    return ious


_TASKS: Mapping[Task, Callable[[Outputs, Outputs], tuple[float, float]]] = {
    "classification": _classification,
    "ctc": _ctc,
    "detection": _detection,
    "embedding": _embedding,
    "segmentation": _segmentation,
}
