"""The outputs of a detector, in any of the forms in use, become boxes and classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triton_kit.conversion.workers.samples import Outputs

Floats = NDArray[np.float64]
_BOX = 4
_FINAL = 6  # a box, its score and the number of its class


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes (batch, boxes, 4); score and number of their best class (batch, boxes)."""

    boxes: Floats
    scores: Floats
    kinds: Floats


def is_final(outputs: Outputs) -> bool:
    """Say whether they are one output (batch, boxes, 6): box, score, class."""
    (first, *others) = outputs.values()
    if others or first.ndim != 3 or first.shape[2] != _FINAL:
        return False
    kinds = first[..., -1]
    return bool((kinds == np.floor(kinds)).all() and (kinds > 1).any())


def read_detections(outputs: Outputs, *, final: bool) -> Detections | None:
    """Read the outputs of a detector; None where they have no form that is known.

    Either one output (batch, 4 + classes, boxes) as YOLO has it, or with the last two
    axes exchanged, or as `is_final` says. Or several: boxes (batch, boxes, 4), scores
    (batch, boxes), or with an axis of classes on either side, and class numbers (batch,
    boxes). These may lack the batch axis, as torchvision's do.
    """
    floats = [a.astype(np.float64) for a in outputs.values() if a.dtype.kind == "f"]
    numbers = [a.astype(np.float64) for a in outputs.values() if a.dtype.kind in "iu"]
    boxes = next((a for a in floats if a.ndim in (2, 3) and a.shape[-1] == _BOX), None)
    if boxes is None:
        return _from_one(floats, final)
    others = [a for a in floats if a is not boxes]
    if boxes.ndim == 2:
        boxes = boxes[np.newaxis]
        others = [a[np.newaxis] for a in others]
        numbers = [a[np.newaxis] for a in numbers]
    each = boxes.shape[:2]
    kinds = next((a for a in numbers if a.shape == each), np.zeros(each))
    for scores in others:
        if scores.shape == each:
            return Detections(boxes, scores, kinds)
        if scores.ndim == 3 and scores.shape[:2] == each:
            return _with_best(boxes, scores, kinds)
        if scores.ndim == 3 and scores.shape[::2] == each:
            return _with_best(boxes, scores.transpose(0, 2, 1), kinds)
    return None


def _from_one(floats: list[Floats], final: bool) -> Detections | None:
    joined = next((a for a in floats if a.ndim == 3), None)
    if joined is None or min(joined.shape[1:]) == 0:
        return None
    if final:
        return Detections(joined[..., :_BOX], joined[..., _BOX], joined[..., -1])
    if joined.shape[1] < joined.shape[2]:
        joined = joined.transpose(0, 2, 1)
    if joined.shape[2] <= _BOX:
        return None
    boxes, scores = joined[..., :_BOX], joined[..., _BOX:]
    return _with_best(boxes, scores, np.zeros(boxes.shape[:2]))


def _with_best(boxes: Floats, scores: Floats, kinds: Floats) -> Detections:
    """Take the best of scores (batch, boxes, classes); of one, `kinds` says it."""
    if scores.shape[2] > 1:
        kinds = scores.argmax(axis=2).astype(np.float64)
    return Detections(boxes, scores.max(axis=2), kinds)
