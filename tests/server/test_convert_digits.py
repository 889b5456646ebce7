"""The digits project in lower precision: as accurate, and served by the real server."""

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tritonclient.http

from triton_kit.build_project import build
from triton_kit.project.load import load_project
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

ALLOWED = 0.005  # half a point


def with_precision(project, precision):
    path = project / "triton-kit.yaml"
    text = path.read_text()
    words = (
        f"source: digits.onnx\n    precision: {precision}\n"
        "    calibration: data/calibration.npz\n    verify: data/test.npz"
    )
    assert "source: digits.onnx" in text
    path.write_text(re.sub("source: digits.onnx", words, text, count=1))


def scores(url, images):
    """Ask for float32 images, shape (batch, 1, 8, 8), in batches the model takes."""
    found = []
    with tritonclient.http.InferenceServerClient(url.removeprefix("http://")) as client:
        for start in range(0, len(images), 60):
            batch = images[start : start + 60]
            tensor = tritonclient.http.InferInput("image", list(batch.shape), "FP32")
            tensor.set_data_from_numpy(batch)
            found.append(client.infer("digits", [tensor]).as_numpy("scores"))
    return np.concatenate(found)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precision_reads_the_digits_as_well(digits, precision):
    with np.load(digits / "data" / "test.npz") as file:
        images, labels = file["image"], file["label"]
    original = onnx.load(digits / "digits.onnx")
    session = ort.InferenceSession(original.SerializeToString())
    exact = (session.run(None, {"image": images})[0].argmax(1) == labels).mean()
    with_precision(digits, precision)
    built = build(load_project(digits))

    with running(ServeSpec(repository=built.repository)) as server:
        found = (scores(server.http_url, images).argmax(1) == labels).mean()

    assert len(labels) == 360
    assert abs(exact - found) <= ALLOWED
    artifact = built.repository / "digits" / "1" / "model.onnx"
    assert artifact.stat().st_size < 0.7 * (digits / "digits.onnx").stat().st_size
    types = {t.data_type for t in onnx.load(artifact).graph.initializer}
    wanted = {
        "fp16": onnx.TensorProto.FLOAT16,
        "int8": onnx.TensorProto.INT8,
    }[precision]
    assert wanted in types
