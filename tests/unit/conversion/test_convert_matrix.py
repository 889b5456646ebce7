"""Every network in every precision: converted, verified, and smaller."""

import onnx
import pytest

from triton_kit.conversion.pipeline import convert

FLOORS_DB = {"fp32": 90, "fp16": 60, "bf16": 35, "int8": 30, "fp8": 20}
# What the answers were computed with: the artifact itself, or its rounded form where
# the CPU has no such arithmetic.
METHODS = {
    "fp32": "run",
    "fp16": "rounded",
    "bf16": "rounded",
    "int8": "run",
    "fp8": "run",
}


TYPES = {"cnn": ["FP32", "FP32"], "transformer": ["INT64", "FP32"]}
# The most bytes an artifact may take, as a share of the source's.
SIZES = {"fp32": 1.2, "fp16": 0.6, "bf16": 0.6, "int8": 0.5, "fp8": 0.5}


@pytest.mark.parametrize("precision", FLOORS_DB)
@pytest.mark.parametrize("network", ["cnn", "transformer"])
def test_onnx_artifacts_answer_like_their_source(order, network, precision):
    result = convert(order(network, precision=precision))

    assert result.precision == precision
    assert result.after.bytes <= SIZES[precision] * result.before.bytes
    types = [t.dtype.name for t in (*result.inputs, *result.outputs)]
    assert types == TYPES[network]  # whatever is computed in between
    assert result.accuracy.min_snr_db >= FLOORS_DB[precision]
    assert result.accuracy.method == METHODS[precision]
    assert {"profile 0 min", "profile 0 opt", "profile 0 max"} <= {
        *result.accuracy.points
    }
    onnx.checker.check_model(result.artifact, full_check=True)


def test_the_same_order_gives_the_same_bytes(order):
    first = convert(order("cnn", precision="int8")).artifact.read_bytes()

    assert convert(order("cnn", precision="int8")).artifact.read_bytes() == first
