"""The gate sees a wrong channel, whatever the magnitude of the others."""

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from convert_networks import detector, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.compare import tally
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Calibration, Gate
from triton_kit.options.shapes import ShapeRange

BATCH = ShapeRange(min=(1, 3, 32, 32), opt=(4, 3, 32, 32), max=(4, 3, 32, 32))


@pytest.fixture
def spec(tmp_path):
    rng = np.random.default_rng(3)
    saved(detector(), tmp_path / "yolo.onnx")
    images = rng.random((16, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "images.npz", images=images)
    return ConvertSpec(
        source=tmp_path / "yolo.onnx",
        output=tmp_path / "out" / "model.onnx",
        profiles=({"images": BATCH},),
        precision="int8",
        calibration=Calibration(data=tmp_path / "images.npz"),
        verify_data=tmp_path / "images.npz",
    )


def outputs_of(path, images):
    return ort.InferenceSession(path).run(None, {"images": images})[0]


def test_a_detector_in_int8_keeps_its_scores(spec, tmp_path):
    result = convert(spec)

    images = np.load(tmp_path / "images.npz")["images"][:4]
    exact = outputs_of(spec.source, images)[:, 4:]
    scores = outputs_of(result.artifact, images)[:, 4:]
    assert np.abs(exact - scores).max() < 0.05
    assert np.abs(scores).min() > 0
    (output,) = result.accuracy.outputs
    assert output.worst_slice_snr_db > 10
    assert any("joins ranges" in reason for reason in result.kept_fp32.values())


def test_top1_along_anchors_is_not_judged(spec):
    (output,) = convert(spec).accuracy.outputs

    assert output.top1_agreement is None


def test_required_top1_without_class_scores_is_refused(spec):
    with pytest.raises(VerifyError, match="no output looks like class scores"):
        convert(replace(spec, gate=Gate(min_top1_agreement=0.9)))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_zeroed_slice_is_the_worst_one(axis):
    rng = np.random.default_rng(0)
    exact = rng.random((4, 6, 50)).astype(np.float32)
    exact[:, 0] *= 1000
    wrong = exact.copy()
    np.moveaxis(wrong, axis, 0)[3] = 0

    found = tally(exact, wrong).figures("y")

    assert found.worst_slice == f"slice 3 of axis {axis}"
    assert found.worst_slice_snr_db < 3


def test_an_offset_hides_no_lost_variation():
    """Values around 5 that lost all their variation are 14 dB by plain SNR."""
    rng = np.random.default_rng(0)
    exact = 5 + rng.standard_normal((8, 4, 16)).astype(np.float32)
    flat = exact.copy()
    flat[:, 2] = exact[:, 2].mean()

    found = tally(exact, flat).figures("y")

    assert found.snr_db > 14
    assert found.worst_slice_snr_db == pytest.approx(0, abs=0.1)


def test_a_weak_class_among_others_is_no_loss():
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((64, 10)).astype(np.float32)
    exact[:, 3] *= 0.02
    noisy = exact + 0.02 * rng.standard_normal(exact.shape).astype(np.float32)

    found = tally(exact, noisy).figures("y")

    assert found.snr_db > 30
    assert found.worst_slice_snr_db > 6


def test_a_slice_of_zeros_may_have_a_little_noise():
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((64, 10)).astype(np.float32)
    exact[:, 3] = 0
    noisy = exact + np.float32(1e-4)

    assert tally(exact, noisy).figures("y").worst_slice_snr_db > 50


def test_scores_beside_pixels_are_a_kind_of_their_own():
    rng = np.random.default_rng(0)
    exact = rng.random((4, 84, 100)).astype(np.float32)
    exact[:, :4] *= 640
    lost = exact.copy()
    lost[:, 4:] = 0

    found = tally(exact, lost).figures("y")

    assert found.snr_db > 30
    assert found.worst_slice_snr_db < 1


def test_slices_of_several_feeds_add_up():
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((8, 4)).astype(np.float32)
    close = exact + 1e-3 * rng.standard_normal((8, 4)).astype(np.float32)

    parts = tally(exact[:3], close[:3]) + tally(exact[3:], close[3:])

    whole = tally(exact, close).figures("y")
    assert parts.figures("y").worst_slice == whole.worst_slice
    assert parts.figures("y").worst_slice_snr_db == pytest.approx(
        whole.worst_slice_snr_db
    )


def test_an_axis_whose_size_varies_has_no_slices():
    exact = np.ones((8, 4), np.float32)

    both = tally(exact, exact) + tally(exact[:, :3], exact[:, :3])

    assert both.figures("y").worst_slice is None


@pytest.mark.parametrize(
    ("values", "name", "judged"),
    [
        (np.random.default_rng(0).random((4, 10)), "y", True),
        (np.random.default_rng(0).random((4, 7, 10)), "output0", False),
        (np.random.default_rng(0).random((4, 7, 10)), "logits", True),
        (np.full((4, 7, 10), 0.1), "y", True),
        (np.log(np.full((4, 7, 10), 0.1)), "y", True),
    ],
)
def test_top1_is_of_class_scores_alone(values, name, judged):
    array = values.astype(np.float32)

    found = tally(array, array, name=name).figures(name)

    assert (found.top1_agreement is not None) == judged
