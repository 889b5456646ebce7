"""How far the outputs of two models are apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, isfinite

import numpy as np
from numpy.typing import NDArray

from triton_kit.conversion.spec import OutputAccuracy
from triton_kit.conversion.verify.slices import SliceSums, sums_of
from triton_kit.conversion.workers.samples import Array, Outputs

EQUAL_ROWS_DB = 90.0  # rows this close are the same, but for rounding
_WEAKEST = 0.01
_SCORES = re.compile("logit|prob", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One output over some feeds, as sums; tallies of several feeds add up.

    Attributes:
        faults: what is wrong beyond figures: a shape, a type, NaN.
        values: numbers compared.
        power, other_power, product, noise: sums of squares of the original, the
            candidate, of their product, and of the squared difference.
        abs_error, max_abs_error: sum and largest of the absolute difference.
        samples: rows along axis 0.
        worst_row_db: SNR of the row that is off most.
        rows, hits: rows that have a top-1, and those where it agrees; for whole
            numbers and text: values, and those that are equal.
        is_exact: whether the values count or name things.
        slices: sums for every slice along small axes.
    """

    faults: tuple[str, ...] = ()
    values: int = 0
    power: float = 0.0
    other_power: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    abs_error: float = 0.0
    max_abs_error: float = 0.0
    samples: int = 0
    worst_row_db: float = float("inf")
    rows: int = 0
    hits: int = 0
    is_exact: bool = False
    slices: SliceSums = field(default_factory=SliceSums, compare=False)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            faults=(*self.faults, *other.faults),
            values=self.values + other.values,
            power=self.power + other.power,
            other_power=self.other_power + other.other_power,
            product=self.product + other.product,
            noise=self.noise + other.noise,
            abs_error=self.abs_error + other.abs_error,
            max_abs_error=max(self.max_abs_error, other.max_abs_error),
            samples=self.samples + other.samples,
            worst_row_db=min(self.worst_row_db, other.worst_row_db),
            rows=self.rows + other.rows,
            hits=self.hits + other.hits,
            is_exact=self.is_exact or other.is_exact,
            slices=self.slices + other.slices,
        )

    @property
    def snr_db(self) -> float:
        """10 log10 of the original's power over the difference's; inf if equal."""
        return float("-inf") if self.faults else _decibels(self.power, self.noise)

    def snr_beside_db(self, least_power: float) -> float:
        """Return the SNR of one point, which may have less power than the others."""
        if self.faults:
            return float("-inf")
        return _decibels(max(self.power, least_power * self.values), self.noise)

    def figures(self, name: str, *, skip_positions: bool = False) -> OutputAccuracy:
        """Return the figures of the result.

        `skip_positions` leaves rows and columns of images out of the slices.
        """
        norms = float(np.sqrt(self.power * self.other_power))
        same = self.power == self.other_power
        worst = self.slices.worst(skip_positions=skip_positions)
        return OutputAccuracy(
            name=name,
            snr_db=self.snr_db,
            worst_row_snr_db=self.worst_row_db,
            max_abs_error=self.max_abs_error,
            mean_abs_error=self.abs_error / max(1, self.values),
            cosine=self.product / norms if norms else float(same),
            top1_agreement=self.hits / self.rows if self.rows else None,
            worst_slice_snr_db=worst.snr_db if worst else float("inf"),
            worst_slice=str(worst) if worst else None,
        )


def tally(
    original: Array, candidate: Array, *, name: str = "", least_power: float = 0.0
) -> Tally:
    """Compare one output, called `name`, for one feed.

    `least_power` is what a value counts for at least: an image without objects has next
    to no output, and noise that is nothing beside other images is not held against it.
    """
    a, b = original, candidate
    if a.shape != b.shape:
        return _broken(f"shape {b.shape} instead of {a.shape}")
    if a.dtype != b.dtype and not {a.dtype.kind, b.dtype.kind} <= set("USO"):
        return _broken(f"type {b.dtype} instead of {a.dtype}")
    if a.size == 0:
        return Tally()
    if a.dtype.kind != "f":
        return _tally_exact(a, b)
    return _tally_floats(a, b, name, least_power)


def least_power(arrays: Sequence[Array]) -> float:
    """Return what a value of little power is held against: 1 % of the mean square.

    The mean is over an output's finite values in all feeds.
    """
    power, count = 0.0, 0
    for array in arrays:
        if array.dtype.kind == "f":
            finite = array[np.isfinite(array)].astype(np.float64)
            power += float(np.square(finite).sum())
            count += finite.size
    return _WEAKEST * power / max(1, count)


def _broken(fault: str) -> Tally:
    return Tally(faults=(fault,), max_abs_error=np.inf, worst_row_db=-np.inf)


def _tally_exact(a: Array, b: Array) -> Tally:
    error = 0.0
    if a.dtype.kind in "iu":
        error = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
    return Tally(
        values=a.size,
        samples=a.shape[0] if a.ndim else 1,
        max_abs_error=error,
        rows=a.size,
        hits=int((a == b).sum()),
        is_exact=True,
    )


def _tally_floats(a: Array, b: Array, name: str, least_power: float) -> Tally:
    left, right = a.astype(np.float64), b.astype(np.float64)
    odd = ~np.isfinite(left) | ~np.isfinite(right)
    same_odd = odd & ((left == right) | (np.isnan(left) & np.isnan(right)))
    if count := int((odd & ~same_odd).sum()):
        return _broken(f"NaN or Inf in {count} places where the original has none")
    left, right = np.where(odd, 0.0, left), np.where(odd, 0.0, right)
    error = np.abs(left - right)
    rows, hits = _top1(left, right) if _are_class_scores(left, name) else (0, 0)
    return Tally(
        values=a.size,
        samples=a.shape[0] if a.ndim else 1,
        power=float(np.square(left).sum()),
        other_power=float(np.square(right).sum()),
        product=float(np.vdot(left, right)),
        noise=float(np.square(error).sum()),
        abs_error=float(error.sum()),
        max_abs_error=float(error.max()),
        worst_row_db=_worst_row_db(left, right, least_power),
        rows=rows,
        hits=hits,
        slices=sums_of(left, right),
    )


def _are_class_scores(values: NDArray[np.float64], name: str) -> bool:
    """Say whether the largest value along the last axis is a choice.

    Of (batch, classes) it is. With more axes the last one may be positions, such as
    the anchors of a detector: there the values have to be probabilities, or the
    output's name has to say that they are.
    """
    if values.ndim < 2 or values.shape[-1] < 2:
        return False
    if values.ndim == 2 or _SCORES.search(name):
        return True
    sums = values.sum(axis=-1)
    logs = np.exp(np.minimum(values, 1.0)).sum(axis=-1)
    is_probability = bool((values >= 0).all()) and np.allclose(sums, 1, atol=1e-2)
    return is_probability or np.allclose(logs, 1, atol=1e-2)


def _decibels(power: float, noise: float) -> float:
    if noise == 0:
        return float("inf")
    if power == 0:
        return float("-inf")
    return float(10 * np.log10(power / noise))


def _worst_row_db(
    left: NDArray[np.float64], right: NDArray[np.float64], least_power: float
) -> float:
    """Return the SNR of the row that is off most.

    A row in a thousand that is all wrong leaves 30 dB over all; here it shows. Rows
    with little power are held against the mean row's, or rounding would condemn them.
    """
    rows = left.reshape(left.shape[0] if left.ndim else 1, -1)
    noise = np.square(rows - right.reshape(rows.shape)).sum(axis=1)
    power = np.square(rows).sum(axis=1)
    power = np.maximum(power, max(power.mean(), least_power * rows.shape[1]))
    with np.errstate(over="ignore"):  # noise over nothing is infinite
        worst = int(np.argmax(noise / np.maximum(power, np.finfo(np.float64).tiny)))
    return _decibels(float(power[worst]), float(noise[worst]))


def _top1(left: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[int, int]:
    """Count rows along the last axis, and those whose largest value is in one place.

    A tie is no disagreement: the candidate's choice may be any of the original's best.
    """
    chosen = np.argmax(right, axis=-1)[..., np.newaxis]
    taken = np.take_along_axis(left, chosen, axis=-1)[..., 0]
    agrees = taken == left.max(axis=-1)
    return agrees.size, int(agrees.sum())


def equal_rows(outputs: Outputs, rows: int) -> dict[str, int | None]:
    """Return, by output, the axis along which all of so many rows are equal.

    None where axis 0 has them and they differ. Outputs with no axis of that length,
    such as a list of boxes, have no rows.
    """
    found: dict[str, int | None] = {}
    for name, array in outputs.items():
        axes = [axis for axis, size in enumerate(array.shape) if size == rows > 1]
        if array.dtype.kind != "f":
            continue
        equal = [a for a in axes if rows_differ_db(array, a) > EQUAL_ROWS_DB]
        if equal or 0 in axes:
            found[name] = equal[0] if equal else None
    return found


def rows_differ_db(array: Array, axis: int) -> float:
    """Return the worst SNR between row 0 along an axis and the other rows."""
    rows = np.moveaxis(array, axis, 0)
    return tally(np.broadcast_to(rows[:1], rows.shape), rows).worst_row_db


def missed(found: float, needed: float, digits: int) -> str:
    """Return a figure below what is needed, rounded so that it reads so."""
    text = f"{found:.{digits}f}"
    if isfinite(found) and float(text) >= needed:
        text = f"{floor(found * 10**digits) / 10**digits:.{digits}f}"
    return text
