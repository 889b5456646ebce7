"""int8 for ONNX Runtime's CPU kernels: what is rounded, and what must not be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision.quantize_cpu import quantize_for_cpu
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import SpecError
from triton_kit.options.conversion import Calibration, Gate
from triton_kit.options.shapes import ShapeRange

WIDE = 32
LOADS = """
import logging, sys
sys.path.append(sys.argv[1])
from convert_networks import cnn
from triton_kit.conversion.onnx.onnx_file import name_nodes
from triton_kit.conversion.precision.candidate import cpu_quantizer

model = cnn()
name_nodes(model)
assert cpu_quantizer().quantize_dynamically(model, skip={}).model
assert logging.getLogger().handlers == []
"""


def test_the_quantizer_leaves_the_log_of_the_program_alone():
    subprocess.run(
        [sys.executable, "-c", LOADS, str(Path(__file__).parent)], check=True
    )


def product(op):
    """float32 x (batch, 32) times a matrix of positive weights, to y (batch, 4)."""
    b = Builder()
    b.constant("w", np.linspace(0.5, 1, 4 * WIDE, dtype=np.float32).reshape(WIDE, 4))
    b.op(op, "x", "w", to="y")
    inputs, outputs = [("x", T.FLOAT, ["n", WIDE])], [("y", T.FLOAT, ["n", 4])]
    return b.model(inputs, outputs)


def as_int8(model, folder, calibration, samples, *, simplify=True, **gate):
    """Convert with the default gate, or another; every name is an input's."""
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
            gate=Gate(**gate),
            simplify=simplify,
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


def two_layers():
    b = Builder(seed=4)
    hidden = b.op("Relu", b.op("MatMul", "x", b.weight("w1", (WIDE, 64))))
    b.op(
        "Gemm", hidden, b.weight("w2", (8, 64)), b.weight("b2", (8,)), transB=1, to="y"
    )
    return b.model([("x", T.FLOAT, ["n", WIDE])], [("y", T.FLOAT, ["n", 8])])


def dynamic(model, folder, **fields):
    bounds = ShapeRange(min=(1, WIDE), opt=(4, WIDE), max=(8, WIDE))
    return ConvertSpec(
        source=saved(model, folder / "source.onnx"),
        output=folder / "model.onnx",
        profiles=({"x": bounds},),
        precision="int8-dynamic",
        **fields,
    )


def test_dynamic_int8_needs_no_samples(tmp_path):
    result = convert(dynamic(two_layers(), tmp_path))

    assert result.precision == "int8-dynamic"
    assert result.accuracy.min_snr_db > 30
    assert result.after.ops["MatMulInteger"] == 2
    assert not any("multiplications" in note for note in result.notes)


def test_a_gemm_that_is_to_stay_float32_does(tmp_path):
    result = convert(dynamic(two_layers(), tmp_path, keep_fp32=("gemm_2",)))

    assert result.kept_fp32 == {"gemm_2": "asked for"}
    assert result.after.ops["MatMulInteger"] == 1
    assert result.after.ops["MatMul"] == 1


def test_bisect_of_dynamic_int8_tries_what_that_form_quantizes(tmp_path):
    gate = Gate(min_snr_db=38.5)

    result = convert(dynamic(two_layers(), tmp_path, gate=gate, bisect=True))

    assert set(result.kept_fp32) == {"gemm_2"}
    assert "1 of 2 nodes stay fp32 for accuracy: 'gemm_2'" in result.notes


def test_dynamic_int8_is_for_onnx_alone(tmp_path):
    with pytest.raises(SpecError, match="which TensorRT does not"):
        ConvertSpec(
            source=tmp_path / "source.onnx",
            output=tmp_path / "model.plan",
            format="plan",
            precision="int8-dynamic",
        )


def depthwise_network():
    """A depthwise convolution between two dense ones, of channels of unlike sizes."""
    b = Builder(seed=5)
    sizes = np.geomspace(1, 1000, 16).astype(np.float32)
    x = b.op("Conv", "x", b.weight("w1", (16, 3, 3, 3)), pads=[1] * 4)
    x = b.op("Relu", x)
    x = b.op("Mul", x, b.constant("sizes", sizes.reshape(1, 16, 1, 1)))
    x = b.op("Conv", x, b.weight("w2", (16, 1, 3, 3)), pads=[1] * 4, group=16)
    x = b.op("Div", x, "sizes")
    b.op("Conv", x, b.weight("w3", (8, 16, 3, 3)), pads=[1] * 4, to="y")
    shape = ["n", 3, 12, 12]
    return b.model([("x", T.FLOAT, shape)], [("y", T.FLOAT, ["n", 8, 12, 12])])


def test_int8_that_fails_with_all_operators_keeps_to_large_products(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((8, 3, 12, 12)).astype(np.float32)

    result = as_int8(
        # Simplified, no channels are apart.
        *(depthwise_network(), tmp_path, images, images),
        simplify=False,
        min_snr_db=20,
    )

    assert result.precision == "int8"
    assert any("large products alone" in note for note in result.notes)
    assert "its channels are apart" in result.kept_fp32["conv_3"]


def test_a_bias_of_two_convolutions_takes_no_name_of_another_value():
    b = Builder()
    b.weight("bias", (8,))
    weights = [b.weight(f"w{index}", (8, 8, 3, 3)) for index in range(2)]
    first = b.op("Conv", "x", weights[0], "bias", to="bias0", pads=[1] * 4)
    second = b.op("Conv", first, weights[1], "bias", pads=[1] * 4)
    b.op("Add", second, first, to="y")
    shape = ["n", 8, 6, 6]
    model = b.model([("x", T.FLOAT, shape)], [("y", T.FLOAT, shape)], opset=19)
    limits = {name: (-9.0, 9.0) for name in ("x", "bias0", second, "y")}

    made = quantize_for_cpu(model, limits, skip={}, between=True).model

    onnx.shape_inference.infer_shapes(made, strict_mode=True, check_type=True)
    x = np.random.default_rng(0).standard_normal((1, 8, 6, 6)).astype(np.float32)
    found, wanted = (
        ort.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0]
        for m in (made, model)
    )
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
