"""Agreement on tasks: on made outputs, and as a gate of a conversion."""

from dataclasses import replace

import numpy as np
import pytest
from convert_networks import detector, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.tasks import agreement, edit_distance
from triton_kit.errors import SpecError, VerifyError
from triton_kit.options.conversion import Gate
from triton_kit.options.shapes import ShapeRange

RNG = np.random.default_rng(0)


def share(task, left, right):
    return agreement(task, [{"y": left}], [{"y": right}])


def f32(array):
    return np.asarray(array, np.float32)


def yolo(count=40):
    """(1, 4 + 3, boxes): centre, size, scores; ten are confident."""
    rng = np.random.default_rng(1)
    boxes = np.zeros((1, 7, count), np.float32)
    boxes[0, :2] = rng.uniform(100, 540, (2, count))
    boxes[0, 2:4] = rng.uniform(20, 60, (2, count))
    boxes[0, 4:] = rng.uniform(0, 0.1, (3, count))
    boxes[0, 4 + np.arange(10) % 3, np.arange(10)] = 0.9
    return boxes


def test_equal_detections_agree_wholly():
    assert share("detection", yolo(), yolo()) == 1


def test_detections_without_scores_agree_in_nothing():
    lost = yolo()
    lost[:, 4:] = 0

    assert share("detection", yolo(), lost) == 0


def test_a_lost_detection_and_another_class_count_each():
    wrong = yolo()
    wrong[0, 4:, 0] = 0.0  # lost: 9 of 10
    wrong[0, 4:, 1] = (0.9, 0.0, 0.0)  # another class: found by one side each

    assert share("detection", yolo(), wrong) == pytest.approx(8 / 11)


def test_boxes_that_moved_are_not_the_same_objects():
    moved = yolo()
    moved[:, :2] += 30

    assert share("detection", yolo(), moved) < 0.5


def test_boxes_and_scores_may_be_two_outputs():
    boxes = yolo().transpose(0, 2, 1)
    both = {"boxes": boxes[..., :4], "scores": boxes[..., 4:]}

    assert agreement("detection", [both], [both]) == 1


def detections(images=2, count=40):
    """Boxes as corners, one confident class of three for each of half of them."""
    rng = np.random.default_rng(2)
    low = rng.uniform(0, 500, (images, count, 2))
    boxes = np.concatenate([low, low + rng.uniform(20, 60, low.shape)], axis=2)
    scores = np.where(np.arange(count) % 2, 0.9, 0.1) * np.ones((images, count))
    return f32(boxes), f32(scores), rng.integers(0, 3, (images, count))


def of_classes(scores, kinds):
    return f32(scores[..., None] * np.eye(3)[kinds])


def one_output(boxes, *others):
    return {"y": f32(np.concatenate([boxes, *others], axis=2))}


# The outputs of two images, by form; whether they say the class of an object.
FORMS = {
    "scores": (lambda b, s, c: {"b": b, "s": s}, False),
    "scores of one class": (lambda b, s, c: {"b": b, "s": s[..., None]}, False),
    "classes": (lambda b, s, c: {"n": c[:, :1], "b": b, "s": s, "c": c}, True),
    "scores by class": (lambda b, s, c: {"s": of_classes(s, c), "b": b}, True),
    "scores by class, before boxes": (
        lambda b, s, c: {"b": b, "s": of_classes(s, c).transpose(0, 2, 1)},
        True,
    ),
    "no batch axis": (lambda b, s, c: {"b": b[0], "c": c[0], "s": s[0]}, True),
    "one output": (lambda b, s, c: one_output(b, of_classes(s, c)), True),
    "one output, final": (
        lambda b, s, c: one_output(b, s[..., None], c[..., None]),
        True,
    ),
}


@pytest.mark.parametrize(("form", "has_classes"), FORMS.values(), ids=FORMS)
def test_every_form_of_detections_is_read(form, has_classes):
    boxes, scores, kinds = detections()
    original = form(boxes, scores.copy(), kinds.copy())
    scores[0, 1] = 0  # lost
    kinds[0, 3] = (kinds[0, 3] + 1) % 3  # another class: found by one side each
    of = 40 if len(next(iter(original.values()))) == 2 else 20

    found = agreement("detection", [original], [form(boxes, scores, kinds)])

    expected = (of - 2) / (of + 1) if has_classes else (of - 1) / of
    assert found == pytest.approx(expected)


def test_boxes_without_scores_are_no_detections():
    boxes, _, _ = detections()

    with pytest.raises(VerifyError, match="task detection: no output has its form"):
        share("detection", boxes, boxes)


def test_nothing_found_proves_nothing():
    empty = np.zeros((1, 7, 40), np.float32)

    with pytest.raises(VerifyError, match="finds nothing"):
        share("detection", empty, empty)


def test_classification_counts_rows():
    left = f32(np.eye(4))
    right = left.copy()
    right[0] = left[1]

    assert share("classification", left, right) == 0.75


def test_segmentation_is_the_mean_iou_of_classes():
    left = np.zeros((1, 2, 4, 4), np.float32)
    left[:, 1, :2] = 1
    right = np.zeros((1, 2, 4, 4), np.float32)
    right[:, 1, :1] = 1

    assert share("segmentation", left, right) == pytest.approx((8 / 12 + 4 / 8) / 2)


@pytest.mark.parametrize("cut", [0.5, 0.0])
def test_a_mask_of_one_channel_is_cut_where_its_values_say(cut):
    left = f32(RNG.random((1, 1, 8, 8))) + np.float32(cut - 0.5)

    assert share("segmentation", left, left) == 1


def test_embeddings_compare_directions():
    left = f32(RNG.standard_normal((8, 16)))

    assert share("embedding", left, 3 * left) == pytest.approx(1)
    assert share("embedding", left, -left) == pytest.approx(-1)


def ctc(*texts):
    scores = np.zeros((len(texts), max(map(len, texts)), 5), np.float32)
    for row, text in enumerate(texts):
        for step, symbol in enumerate(text):
            scores[row, step, symbol] = 1
    return scores


def test_ctc_compares_texts_and_not_steps():
    left = ctc([1, 1, 0, 2, 3], [4, 0, 4, 0, 0])

    assert share("ctc", left, ctc([1, 0, 2, 2, 3], [0, 4, 0, 4, 4])) == 1
    assert share("ctc", left, ctc([1, 0, 2, 2, 1], [0, 4, 0, 4, 4])) == 4 / 5


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)],
)
def test_edit_distance(left, right, distance):
    assert edit_distance(left, right) == distance


def test_an_output_of_another_form_is_refused():
    with pytest.raises(VerifyError, match="no output has its form"):
        share("segmentation", f32(np.ones((2, 3))), f32(np.ones((2, 3))))


@pytest.fixture
def spec(tmp_path):
    saved(detector(), tmp_path / "yolo.onnx")
    images = RNG.random((8, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "images.npz", images=images)
    shape = (4, 3, 32, 32)
    return ConvertSpec(
        source=tmp_path / "yolo.onnx",
        output=tmp_path / "out" / "model.onnx",
        profiles=({"images": ShapeRange(min=shape, opt=shape, max=shape)},),
        verify_data=tmp_path / "images.npz",
        root=tmp_path,
    )


COMPARE = """
import os
from pathlib import Path


def same(original, candidate):
    return 1.0


def other(original, candidate):
    assert original["output0"].shape == candidate["output0"].shape
    return 0.5


def text(original, candidate):
    return "same"


def equal(original, candidate):
    return float((original["output0"] == candidate["output0"]).all())


def fails(original, candidate):
    raise KeyError("boxes")


def first_run_only(original, candidate):
    # One process for each comparison: that of the original with itself, and then of
    # each run of the artifact, of which the first is without optimisations.
    seen = Path(__file__).with_suffix(".seen")
    processes = seen.read_text().split() if seen.exists() else []
    if str(os.getpid()) not in processes:
        processes.append(str(os.getpid()))
    seen.write_text(" ".join(processes))
    return float(processes.index(str(os.getpid())) < 2)
"""


def test_a_conversion_reports_the_agreements_it_was_asked_for(spec, tmp_path):
    (tmp_path / "comparing.py").write_text(COMPARE)
    gate = Gate(task="detection", function="comparing:same")

    result = convert(replace(spec, gate=gate))

    assert result.accuracy.agreements == {"detection": 1.0, "comparing:same": 1.0}
    assert result.manifest["accuracy"]["agreements"]["detection"] == 1.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other", "with themselves: refusing:other: agreement 0.5000, needs 0.95"),
        ("fails", "KeyError: 'boxes'"),
        ("text", "could not convert string to float: 'same'"),
        ("absent", "verify function 'refusing:absent': module 'refusing' has no"),
    ],
)
def test_a_comparison_that_cannot_pass_is_refused_at_once(spec, tmp_path, name, words):
    (tmp_path / "refusing.py").write_text(COMPARE)
    gate = Gate(function=f"refusing:{name}")

    with pytest.raises(SpecError) as caught:
        convert(replace(spec, gate=gate))

    assert words in caught.value.message


def test_a_comparison_that_is_not_there_is_refused_before_the_source_is_read(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    gate = Gate(function="no_such_module:f")

    with pytest.raises(SpecError, match="No module named 'no_such_module'"):
        convert(
            ConvertSpec(
                source=tmp_path / "broken.onnx",
                output=tmp_path / "model.onnx",
                gate=gate,
                root=tmp_path,
            )
        )


def test_a_task_that_the_outputs_are_not_of_is_refused_at_once(spec):
    with pytest.raises(SpecError, match="task segmentation: no output has its form"):
        convert(replace(spec, gate=Gate(task="segmentation"), precision="fp16"))


def test_a_users_comparison_can_refuse(spec, tmp_path):
    (tmp_path / "exact.py").write_text(COMPARE)
    gate = Gate(function="exact:equal")

    with pytest.raises(VerifyError, match=r"exact:equal: agreement 0\.0000, needs"):
        convert(replace(spec, gate=gate, precision="fp16"))


def test_agreement_is_required_of_what_is_served(spec, tmp_path):
    (tmp_path / "served.py").write_text(COMPARE)

    result = convert(replace(spec, gate=Gate(function="served:first_run_only")))

    assert result.accuracy.runtime_level == "off"
    assert any(
        note.startswith("not at optimisation level all: served:first_run_only")
        for note in result.notes
    )
