"""int8 for ONNX Runtime's CPU kernels: what is rounded, and what must not be."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.options.conversion import Calibration
from triton_kit.options.shapes import ShapeRange

WIDE = 32


def product(op):
    """float32 x (batch, 32) times a matrix of positive weights, to y (batch, 4)."""
    b = Builder()
    b.constant("w", np.linspace(0.5, 1, 4 * WIDE, dtype=np.float32).reshape(WIDE, 4))
    b.op(op, "x", "w", to="y")
    inputs, outputs = [("x", T.FLOAT, ["n", WIDE])], [("y", T.FLOAT, ["n", 4])]
    return b.model(inputs, outputs)


def as_int8(model, folder, calibration, samples):
    """Convert with the default gate; every name is an input's."""
    np.savez(folder / "calibration.npz", x=calibration)
    np.savez(folder / "samples.npz", x=samples)
    shape = calibration.shape[1:]
    bounds = ShapeRange(min=(1, *shape), opt=(4, *shape), max=(8, *shape))
    return convert(
        ConvertSpec(
            source=saved(model, folder / "source.onnx"),
            output=folder / "model.onnx",
            profiles=({"x": bounds},),
            precision="int8",
            calibration=Calibration(data=folder / "calibration.npz"),
            verify_data=folder / "samples.npz",
        )
    )


def operators_served(path, folder):
    """Return the operators that ONNX Runtime computes, once it has optimised."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3  # it warns of saving what fits only this machine
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return {n.op_type for n in onnx.load(folder / "optimised.onnx").graph.node}


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_a_response_larger_than_any_in_calibration_is_not_cut_off(tmp_path, op):
    one_at_a_time = np.eye(WIDE, dtype=np.float32)  # answers up to 1
    all_at_once = np.ones((8, WIDE), np.float32)  # answers about 24

    result = as_int8(product(op), tmp_path, one_at_a_time, all_at_once)

    assert result.accuracy.min_snr_db > 35


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_ops_with_float32_outputs_compute_in_int8(tmp_path, op):
    samples = np.random.default_rng(0).random((32, WIDE), np.float32)

    result = as_int8(product(op), tmp_path, samples, samples)

    served = operators_served(result.artifact, tmp_path)
    assert served & {"QGemm", "MatMulIntegerToFloat"}
    assert op not in served


def test_sums_that_would_overflow_16_bits_are_right(tmp_path):
    # Largest inputs times largest weights, everywhere: two such products of 8 bits each
    # make 64,770, and CPUs without VNNI add them up in 16 bits.
    b = Builder()
    b.constant("w", np.full((8, 16, 3, 3), 0.25, np.float32))
    b.op("Conv", "x", "w", pads=[1, 1, 1, 1], to="y")
    inputs = [("x", T.FLOAT, ["n", 16, 8, 8])]
    model = b.model(inputs, [("y", T.FLOAT, ["n", 8, 8, 8])])
    samples = np.ones((8, 16, 8, 8), np.float32)

    result = as_int8(model, tmp_path, samples, samples)

    assert result.accuracy.runtime_level == "all"
    assert result.accuracy.min_snr_db > 45
