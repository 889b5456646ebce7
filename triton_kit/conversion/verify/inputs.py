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
from triton_kit.tensors import DYNAMIC, Tensor

IDENTICAL = "identical rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationInput:
    """One feed, and the point it belongs to: a shape, or the user's samples.

    `rows` is the number of equal rows in `IDENTICAL`, 0 in others.
    """

    point: str
    feed: Feed
    rows: int = 0


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
    return [*inputs, *_repeat_first_row(inputs[-1].feed, tensors, profiles[-1])]


def _repeat_first_row(
    feed: Feed, tensors: Sequence[Tensor], profile: Profile
) -> list[VerificationInput]:
    """Return a feed of equal rows, as many as fit; none where that is but one.

    The batch is axis 0. Where that is fixed and other inputs' is not, as in the state
    of a recurrent network, it is the first free axis of the same size.
    """
    shapes = {name: bounds.max for name, bounds in profile.items()}
    shaped = [tensor for tensor in tensors if tensor.shape]
    free = [tensor for tensor in shaped if tensor.shape[0] == DYNAMIC] or shaped
    sizes = {shapes[tensor.name][0] for tensor in free}
    batch = sizes.pop() if len(sizes) == 1 else 1
    if batch < 2:
        return []
    first = dict(feed)
    for tensor in shaped:
        axes = [
            axis
            for axis, size in enumerate(tensor.shape)
            if size == DYNAMIC and shapes[tensor.name][axis] == batch
        ]
        if tensor in free:
            axes = [0]
        if axes:
            first[tensor.name] = feed[tensor.name].take([0], axis=axes[0])
    repeated = fit(first, shapes)
    return [VerificationInput(point=IDENTICAL, feed=repeated, rows=batch)]


def write_inputs(inputs: Sequence[VerificationInput], folder: Path) -> FeedFiles:
    """Write the inputs for the workers that run models."""
    return write_feeds(
        [item.feed for item in inputs],
        folder,
        labels=[item.point for item in inputs],
    )
