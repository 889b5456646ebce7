"""One output, slice by slice: a wrong channel shows, however small its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MOST_SLICES = 512  # a longer axis is one of positions, not of channels
FEWEST_VALUES = 8  # of fewer values the variation is not known
IMAGE_AXES, CHANNELS = 3, 1  # of (batch, channels, height, width), without the batch
# Variation below this share of a slice's power is no more to judge by than rounding:
# over random inputs many networks hardly vary.
_LEAST_VARIATION = 0.01
# Slices of one kind, such as the scores of all classes, are held against their mean
# power: a weak one among them is no loss. Kinds are this far apart in power.
_WEAKEST = 0.01
_APART = 1e4
_NOTHING = 1e-8  # of the strongest slice's power: rounding of float16 and less
_COUNT, _SUM, _POWER, _NOISE = range(4)
Sums = NDArray[np.float64]  # shape (slices, 4)


@dataclass(frozen=True, slots=True)
class WorstSlice:
    """The slice that is off most: SNR of its variation around its own mean."""

    axis: int
    index: int
    snr_db: float

    def __str__(self) -> str:
        return f"slice {self.index} of axis {self.axis}"


@dataclass(frozen=True, slots=True)
class SliceSums:
    """Sums along every small axis but the batch axis; those of several feeds add up.

    An axis whose size varies between feeds is none of channels, and is left out.
    """

    by_axis: Mapping[int, Sums | None] = field(default_factory=dict)

    def __add__(self, other: SliceSums) -> SliceSums:
        if not self.by_axis or not other.by_axis:
            return self if self.by_axis else other
        return SliceSums(
            {
                axis: _added(self.by_axis.get(axis), other.by_axis.get(axis))
                for axis in self.by_axis.keys() | other.by_axis.keys()
            }
        )

    def worst(self, *, skip_positions: bool = False) -> WorstSlice | None:
        """Return the worst slice; None where none has enough values.

        `skip_positions` leaves out the height and width of images.
        """
        is_image = len(self.by_axis) == IMAGE_AXES
        axes = [CHANNELS] if skip_positions and is_image else sorted(self.by_axis)
        found = [
            worst
            for axis in axes
            if (sums := self.by_axis[axis]) is not None
            and (worst := _worst(axis, sums))
        ]
        return min(found, key=lambda w: w.snr_db, default=None)


def sums_of(left: NDArray[np.float64], right: NDArray[np.float64]) -> SliceSums:
    """Return the sums of an original's and a candidate's output."""
    found: dict[int, Sums | None] = {}
    for axis in range(1, left.ndim):
        size = left.shape[axis]
        if not 2 <= size <= MOST_SLICES:
            found[axis] = None
            continue
        others = tuple(i for i in range(left.ndim) if i != axis)
        columns = np.zeros((size, 4))
        columns[:, _COUNT] = left.size / size
        columns[:, _SUM] = left.sum(axis=others)
        columns[:, _POWER] = np.square(left).sum(axis=others)
        columns[:, _NOISE] = np.square(left - right).sum(axis=others)
        found[axis] = columns
    return SliceSums(found)


def _added(left: Sums | None, right: Sums | None) -> Sums | None:
    if left is None or right is None or left.shape != right.shape:
        return None
    return left + right


def _powers_of_kind(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each slice, the mean power of the slices of its kind.

    Boxes in pixels and scores below one are two kinds: a gap lies between them.
    """
    strong = power[power > _NOTHING * power.max()]
    levels = np.maximum(power, strong.min(initial=power.max()))
    order = np.argsort(levels)
    ratios = levels[order][1:] / np.maximum(levels[order][:-1], np.finfo(float).tiny)
    kinds = np.split(order, np.flatnonzero(ratios > _APART) + 1)
    found = np.empty_like(levels)
    for kind in kinds:
        found[kind] = levels[kind].mean()
    return found


def _worst(axis: int, sums: Sums) -> WorstSlice | None:
    count = sums[:, _COUNT]
    power = sums[:, _POWER] / count
    variance = power - np.square(sums[:, _SUM] / count)
    signal = np.maximum(variance, _LEAST_VARIATION * power)
    signal = np.maximum(signal, _WEAKEST * _powers_of_kind(power))
    noise = sums[:, _NOISE] / count
    if count[0] < FEWEST_VALUES:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = np.where(noise > 0, 10 * np.log10(signal / noise), np.inf)
    index = int(np.argmin(decibels))
    return WorstSlice(axis, index, float(decibels[index]))
