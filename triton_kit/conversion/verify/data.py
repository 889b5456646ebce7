"""Which samples calibrate, and which verify: never the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.samples import Feed, load_samples
from triton_kit.errors import SpecError
from triton_kit.options.conversion import Ranges
from triton_kit.tensors import Tensor

HELD_OUT = 4  # one sample of four verifies
RANDOM = "random values, which prove little about real data (--verify-data)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSamples:
    """The samples of a conversion, and what the verdict of the gate is based on."""

    calibration: Feed | None
    verification: Feed | None
    about: str


def choose_samples(
    spec: ConvertSpec, tensors: Sequence[Tensor], *, example: Path | None = None
) -> ChosenSamples:
    """Read the samples that are given; without verification data hold some out.

    `example` are rows that a function returned with its model, which verify.

    Raises:
        SpecError: a file cannot be used, or its values cannot be what the model takes.
    """
    calibration = None
    if spec.calibration:
        calibration = load_samples(spec.calibration.data, tensors)
        check_values(calibration, spec.ranges, str(spec.calibration.data))
    if spec.verify_data:
        verification = load_samples(spec.verify_data, tensors)
        check_values(verification, spec.ranges, str(spec.verify_data))
        count = _count(verification)
        about = f"{count} samples of {spec.verify_data.name}"
        return ChosenSamples(
            calibration=calibration, verification=verification, about=about
        )
    if example:
        verification = load_samples(example, tensors)
        return ChosenSamples(
            calibration=calibration,
            verification=verification,
            about=f"{_count(verification)} example rows of the source",
        )
    if calibration is None or _count(calibration) < HELD_OUT:
        return ChosenSamples(calibration=calibration, verification=None, about=RANDOM)
    count = _count(calibration)
    held = np.arange(count) % HELD_OUT == HELD_OUT - 1
    return ChosenSamples(
        calibration={name: array[~held] for name, array in calibration.items()},
        verification={name: array[held] for name, array in calibration.items()},
        about=f"{int(held.sum())} of {count} calibration samples, not calibrated on",
    )


def _count(samples: Feed) -> int:
    return min((len(array) for array in samples.values()), default=0)


def check_values(samples: Feed, ranges: Ranges, file: str) -> None:
    """Refuse samples that are no values of the model's inputs.

    Raises:
        SpecError: all are zero, or far outside of the range that is given.
    """
    for name, array in samples.items():
        if array.dtype.kind != "f" or not array.size:
            continue
        least, most = float(array.min()), float(array.max())
        low, high = ranges.get(name, (least, most))
        if least == most == 0 and ranges.get(name) != (0, 0):
            raise SpecError(
                f"{file}: every value of {name!r} is 0, which shows no range",
                hint="write real samples, preprocessed as for the model",
            )
        width = high - low
        if least < low - width or most > high + width:
            raise SpecError(
                f"{file}: {name!r} goes from {least:g} to {most:g}, its range is "
                f"{low:g} to {high:g}",
                hint="scale the samples as the model expects them, or correct --range",
            )
