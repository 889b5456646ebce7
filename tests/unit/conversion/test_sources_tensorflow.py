"""TensorFlow models, where TRITON_KIT_TENSORFLOW_PYTHON names a Python that has it."""

import os
import subprocess

import onnx
import pytest

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.sources.tensorflow import PYTHON
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError
from triton_kit.options.shapes import ShapeRange

pytestmark = pytest.mark.skipif(
    PYTHON.variable not in os.environ,
    reason=f"{PYTHON.variable} names no Python with tensorflow and tf2onnx",
)
MAKE = """
import keras
model = keras.Sequential([
    keras.Input((16, 16, 3), name="image"),
    keras.layers.Conv2D(8, 3, activation="relu"),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(5),
])
model.export("saved", verbose=False)
model.save("model.keras")
"""
SHAPES = {
    "image": ShapeRange(min=(1, 16, 16, 3), opt=(4, 16, 16, 3), max=(8, 16, 16, 3))
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow")
    subprocess.run(
        [os.environ[PYTHON.variable], "-c", MAKE],
        cwd=folder,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize("source", ["saved", "model.keras"])
def test_a_model_becomes_onnx_with_named_axes(models, tmp_path, source):
    spec = ConvertSpec(
        source=models / source,
        output=tmp_path / "model.onnx",
        profiles=(SHAPES,),
        precision="fp16",
    )

    result = convert(spec)

    assert result.accuracy.min_snr_db >= 60
    (image,) = onnx.load(result.artifact).graph.input
    assert image.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_what_tensorflow_cannot_read_is_reported(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"no model")

    with pytest.raises(ConvertError, match="TensorFlow does not export it"):
        convert(ConvertSpec(source=tmp_path / "saved", output=tmp_path / "m.onnx"))
