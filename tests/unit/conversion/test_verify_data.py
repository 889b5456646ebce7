"""Calibration samples never verify, and samples that cannot be right are refused."""

from pathlib import Path

import numpy as np
import pytest

from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.data import RANDOM, choose_samples
from triton_kit.errors import SpecError
from triton_kit.options.conversion import Calibration
from triton_kit.tensors import Tensor, data_type

X = Tensor(name="x", dtype=data_type("fp32"), shape=(-1, 3))


def spec_of(tmp_path, values, **fields):
    np.savez(tmp_path / "c.npz", x=np.asarray(values, np.float32))
    return ConvertSpec(
        source=Path("m.onnx"),
        output=Path("out/model.onnx"),
        calibration=Calibration(data=tmp_path / "c.npz"),
        **fields,
    )


def test_samples_are_held_out_of_calibration(tmp_path):
    values = np.arange(24).reshape(8, 3) + 1

    chosen = choose_samples(spec_of(tmp_path, values), (X,))

    both = np.concatenate([chosen.calibration["x"], chosen.verification["x"]])
    assert sorted(both[:, 0]) == sorted(values[:, 0])
    assert len(chosen.verification["x"]) == 2
    assert "2 of 8 calibration samples" in chosen.about


def test_too_few_samples_to_share_leave_random_values(tmp_path):
    chosen = choose_samples(spec_of(tmp_path, np.ones((3, 3))), (X,))

    assert len(chosen.calibration["x"]) == 3
    assert (chosen.verification, chosen.about) == (None, RANDOM)


def test_verification_data_leaves_all_samples_to_calibration(tmp_path):
    np.savez(tmp_path / "v.npz", x=np.ones((5, 3), np.float32))
    spec = spec_of(tmp_path, np.ones((8, 3)), verify_data=tmp_path / "v.npz")

    chosen = choose_samples(spec, (X,))

    assert len(chosen.calibration["x"]) == 8
    assert chosen.about == "5 samples of v.npz"


def test_samples_of_zeros_are_refused(tmp_path):
    with pytest.raises(SpecError, match="every value of 'x' is 0"):
        choose_samples(spec_of(tmp_path, np.zeros((8, 3))), (X,))


def test_unscaled_samples_are_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3))

    with pytest.raises(SpecError, match="its range is 0 to 1"):
        choose_samples(spec_of(tmp_path, pixels, ranges={"x": (0.0, 1.0)}), (X,))
