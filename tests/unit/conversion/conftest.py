import numpy as np
import pytest
from convert_networks import cnn, saved, transformer

from triton_kit.conversion.spec import ConvertSpec
from triton_kit.options.conversion import Calibration
from triton_kit.options.shapes import ShapeRange

SHAPES = {
    "cnn": ("image", (1, 3, 32, 32), (8, 3, 32, 32), (16, 3, 32, 32)),
    "transformer": ("tokens", (1, 1), (4, 16), (8, 40)),
}


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """A folder with cnn.onnx, transformer.onnx and samples for both."""
    folder = tmp_path_factory.mktemp("networks")
    rng = np.random.default_rng(5)
    saved(cnn(), folder / "cnn.onnx")
    saved(transformer(), folder / "transformer.onnx")
    images = rng.standard_normal((48, 3, 32, 32)).astype(np.float32)
    np.savez(folder / "cnn.npz", image=images)
    np.savez(folder / "transformer.npz", tokens=rng.integers(0, 50, (48, 16)))
    return folder


@pytest.fixture
def order(networks, tmp_path):
    """Makes the spec of one of the networks, with whatever else is wanted of it."""

    def make(network, **fields):
        name, least, best, most = SHAPES[network]
        data = networks / f"{network}.npz"
        given = {
            "source": networks / f"{network}.onnx",
            "output": tmp_path / f"model.{fields.get('format', 'onnx')}",
            "profiles": ({name: ShapeRange(min=least, opt=best, max=most)},),
            "verify_data": data,
            "calibration": Calibration(data=data),
        }
        return ConvertSpec(**given | fields)

    return make
