"""Every network in every precision: converted, verified, and smaller."""

import onnx
import pytest

from triton_kit.convert.pipeline import convert

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


@pytest.mark.parametrize("precision", FLOORS_DB)
@pytest.mark.parametrize("network", ["cnn", "transformer"])
def test_onnx_artifacts_answer_like_their_source(order, network, precision):
    result = convert(order(network, precision=precision))

    assert result.precision == precision
    assert result.accuracy.min_snr_db >= FLOORS_DB[precision]
    assert result.accuracy.method == METHODS[precision]
    assert {"profile 0 min", "profile 0 opt", "profile 0 max"} <= {
        *result.accuracy.points
    }
    onnx.checker.check_model(result.artifact, full_check=True)


@pytest.mark.parametrize(
    ("precision", "at_most"), [("fp16", 0.6), ("bf16", 0.6), ("int8", 0.5)]
)
def test_lower_precisions_take_fewer_bytes(order, precision, at_most):
    result = convert(order("cnn", precision=precision))

    assert result.after.bytes <= at_most * result.before.bytes


def test_the_same_order_gives_the_same_bytes(order):
    first = convert(order("cnn", precision="int8")).artifact.read_bytes()

    assert convert(order("cnn", precision="int8")).artifact.read_bytes() == first
