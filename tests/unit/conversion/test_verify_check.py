"""Floors of parts: one shape or one row may be worse than all, but not lost."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from triton_kit.conversion.verify.check import (
    LEVEL_MARGIN_DB,
    OWN_NOISE_MARGIN_DB,
    Check,
    Reference,
)
from triton_kit.conversion.verify.own_noise import OwnNoise
from triton_kit.conversion.workers.models import FeedFiles, write_feeds
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Gate


def noisy(array, snr_db):
    """Return an array with noise that is so far below it."""
    noise = np.random.default_rng(1).normal(size=array.shape)
    return (array + noise * array.std() * 10 ** (-snr_db / 20)).astype(np.float32)


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


@pytest.mark.parametrize(
    ("snr_db", "margin_db", "is_refused"),
    [
        (56, OWN_NOISE_MARGIN_DB, False),
        (51, OWN_NOISE_MARGIN_DB, True),
        (51, LEVEL_MARGIN_DB, False),
        (46, LEVEL_MARGIN_DB, True),
    ],
)
def test_a_level_may_be_further_from_the_original_than_its_own_noise(
    tmp_path, snr_db, margin_db, is_refused
):
    """The original moves by 60 dB for noise on its inputs."""
    original = values(200, 10)
    feeds = write_feeds([{"x": original}], tmp_path / "feeds")
    noise = OwnNoise(
        feeds,
        [{"y": original}],
        lambda _: [{"y": noisy(original, 60)}],
        tmp_path / "noisy",
    )
    reference = replace(check_of(original).reference, noise=noise)
    check = Check(reference, Gate(), "fp32", own_margin_db=margin_db)

    with pytest.raises(VerifyError, match="needs") if is_refused else nullcontext():
        check.outputs([{"y": noisy(original, snr_db)}])
