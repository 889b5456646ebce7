"""The top-level `model_repository/` is what the digits project builds to."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from triton_kit.build_project import build
from triton_kit.project.load import load_project
from triton_kit.repository.publish.layout import model_names, versions
from triton_kit.repository.publish.manifest import verify_manifest

EXAMPLE = Path(__file__).parents[2] / "model_repository"


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_build_of_the_digits_project_gives_the_example(digits):
    build(load_project(digits))

    assert contents(digits / "model_repository") == contents(EXAMPLE)


def test_every_manifest_of_the_example_holds():
    for name in model_names(EXAMPLE):
        for version in versions(EXAMPLE / name):
            verify_manifest(EXAMPLE / name / str(version))


def test_the_classifier_reads_the_held_back_images(digits_recipe):
    with np.load(digits_recipe / "data" / "test.npz", allow_pickle=False) as data:
        images, labels = data["image"], data["label"]
    session = ort.InferenceSession(EXAMPLE / "digits" / "1" / "model.onnx")

    (scores,) = session.run(None, {"image": images})

    assert images.shape == (360, 1, 8, 8)
    assert (scores.argmax(1) == labels).mean() >= 0.97


def test_calibration_and_held_back_images_are_apart(digits_recipe):
    data = digits_recipe / "data"
    with np.load(data / "test.npz") as test, np.load(data / "calibration.npz") as train:
        held_back = {image.tobytes() for image in test["image"]}
        seen = {image.tobytes() for image in train["image"]}

    assert not held_back & seen


def test_the_shipped_model_is_small_and_names_no_machine(digits_recipe):
    path = digits_recipe / "digits.onnx"
    model = onnx.load(path)

    assert path.stat().st_size < 500_000
    assert not any(node.metadata_props for node in model.graph.node)
    assert b"site-packages" not in path.read_bytes()
