"""The inputs that original and candidates are compared on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triton_kit.conversion.shapes import points_of
from triton_kit.conversion.workers.models import FeedFiles, write_feeds
from triton_kit.conversion.workers.samples import Feed, batches, fit, random_feed
from triton_kit.options.shapes import Profile
from triton_kit.tensors import Tensor

IDENTICAL = "identical rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationInput:
    """One feed, and the point it belongs to: a shape, or the user's samples."""

    point: str
    feed: Feed


def make_inputs(
    tensors: Sequence[Tensor],
    profiles: Sequence[Profile],
    *,
    samples: Feed | None,
    run_all: bool,
    ranges: Mapping[str, tuple[float, float]],
    seed: int,
) -> list[VerificationInput]:
    """Return the inputs to run: every profile's min, opt and max, then all samples.

    Where there are samples, the shapes are filled with them; random values otherwise.
    """
    rng = np.random.default_rng(seed)
    points = points_of(profiles)
    inputs = [
        VerificationInput(
            point=point,
            feed=random_feed(tensors, shapes, rng, ranges)
            if samples is None
            else fit(samples, shapes),
        )
        for point, shapes in points.items()
    ]
    best = {name: bounds.opt for name, bounds in profiles[0].items()}
    if samples is not None and run_all:
        inputs += [
            VerificationInput(point="samples", feed=feed)
            for feed in batches(samples, best)
        ]
    if repeated := _repeat_first_row(inputs[-1].feed, profiles):
        inputs.append(VerificationInput(point=IDENTICAL, feed=repeated))
    return inputs


def _repeat_first_row(feed: Feed, profiles: Sequence[Profile]) -> Feed | None:
    """Return a feed of equal rows, as many as fit; None where that is but one."""
    shapes = {name: bounds.max for name, bounds in profiles[-1].items()}
    if not all(shape and shape[0] > 1 for shape in shapes.values()):
        return None
    rows = {name: array[:1] for name, array in feed.items()}
    return fit(rows, shapes)


def write_inputs(inputs: Sequence[VerificationInput], folder: Path) -> FeedFiles:
    """Write the inputs for the workers that run models."""
    return write_feeds(
        [item.feed for item in inputs],
        folder,
        labels=[item.point for item in inputs],
    )
