"""Floors of parts: one shape or one row may be worse than all, but not lost."""

from pathlib import Path

import numpy as np
import pytest

from triton_kit.conversion.verify.check import Check, Reference
from triton_kit.conversion.workers.models import FeedFiles
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Gate


def check_of(*feeds, precision="int8", **limits):
    """Return a check of outputs `y`, one array per shape."""
    labels = tuple(f"profile {index} opt" for index in range(len(feeds)))
    reference = Reference(
        feeds=FeedFiles(("x",), tuple(map(Path, labels)), labels),
        outputs=tuple({"y": feed} for feed in feeds),
        timeout_s=1,
        data="",
    )
    return Check(reference, Gate(**limits), precision)


def values(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "limits", [{"task": "classification"}, {"min_snr_db": 10}, {"min_snr_db": 6}]
)
def test_a_row_that_is_lost_is_refused_however_low_the_floor(limits):
    original = values(200, 10)
    candidate = original.copy()
    candidate[7] *= -1

    with pytest.raises(VerifyError, match=r"SNR of one row .* needs 6 dB"):
        check_of(original, **limits).outputs([{"y": candidate}])


@pytest.mark.parametrize("rows", [3, 5])
def test_a_shape_that_is_lost_is_refused_however_low_the_floor(rows):
    most, few = values(200, 10), values(rows, 10)
    check = check_of(most, few, task="classification")

    with pytest.raises(VerifyError, match=r"profile 1 opt: SNR 0\.0 dB, needs 6 dB"):
        check.outputs([{"y": most}, {"y": few * 0}])


def test_a_floor_below_what_is_lost_holds_for_rows_too():
    original = values(200, 10)
    candidate = original.copy()
    candidate[7] *= 0.3  # 3.1 dB

    found = check_of(original, min_snr_db=3).outputs([{"y": candidate}])

    assert found[0].worst_row_snr_db == pytest.approx(3.1, abs=1)


def test_the_slice_that_is_reported_is_one_that_is_judged():
    original = values(2, 3, 16, 16)
    candidate = original.copy()
    candidate[:, :, 5] *= 0.4
    candidate[:, 1] *= 0.8

    with_task = check_of(original, task="segmentation").outputs([{"y": candidate}])
    without = check_of(original, min_snr_db=3).outputs([{"y": candidate}])

    assert with_task[0].worst_slice == "slice 1 of axis 1"
    assert without[0].worst_slice == "slice 5 of axis 2"
