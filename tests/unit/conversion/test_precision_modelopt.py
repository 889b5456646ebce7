"""NVIDIA's ModelOpt as the quantiser, where a Python that has it is named."""

import json
import os
import sys
from dataclasses import replace
from importlib.util import find_spec

import onnx
import pytest

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision.modelopt import PYTHON
from triton_kit.errors import ConvertError, MissingExtraError, SpecError
from triton_kit.options.conversion import Gate

has_modelopt = PYTHON.variable in os.environ or find_spec("modelopt") is not None
with_modelopt = pytest.mark.skipif(
    not has_modelopt, reason=f"{PYTHON.variable} names no Python with nvidia-modelopt"
)


def by_modelopt(spec, **changes):
    calibration = replace(spec.calibration, quantizer="modelopt", **changes)
    return replace(spec, calibration=calibration)


@with_modelopt
@pytest.mark.parametrize(
    ("network", "precision", "floor_db"),
    # 29 dB for the transformer's int8, where the kit's own has 34.
    [("cnn", "int8", 30), ("transformer", "int8", 25), ("transformer", "fp8", 20)],
)
def test_what_modelopt_quantises_is_held_to_the_gate(
    order, network, precision, floor_db
):
    spec = order(network, precision=precision, gate=Gate(min_snr_db=floor_db))

    result = convert(by_modelopt(spec))

    assert result.accuracy.min_snr_db >= floor_db
    operators = {node.op_type for node in onnx.load(result.artifact).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} & operators
    assert result.inputs == convert(spec).inputs


@with_modelopt
def test_a_graph_in_which_modelopt_finds_nothing_is_an_error(order):
    with pytest.raises(ConvertError, match="nothing in this graph to quantise to fp8"):
        convert(by_modelopt(order("cnn", precision="fp8")))


@with_modelopt
def test_entropy_is_used_and_the_version_is_in_the_manifest(order):
    result = convert(by_modelopt(order("cnn", precision="int8"), method="entropy"))

    manifest = json.loads((result.artifact.parent / "manifest.json").read_text())
    asked = manifest["spec"]["calibration"]
    assert asked["method"] == "entropy"
    assert asked["modelopt"][0].isdigit()


@with_modelopt
def test_nodes_to_keep_stay_float32(order):
    spec = by_modelopt(replace(order("cnn", precision="int8"), keep_fp32=("Gemm",)))

    result = convert(spec)

    assert any(reason == "asked for" for reason in result.kept_fp32.values())


@with_modelopt
def test_percentiles_are_the_kits_own(order):
    with pytest.raises(SpecError, match="no calibration method 'percentile'"):
        convert(by_modelopt(order("cnn", precision="int8"), method="percentile"))


def test_asymmetric_ranges_are_the_kits_own(order):
    spec = replace(order("cnn", precision="int8"), symmetric=False)

    with pytest.raises(SpecError, match="centred on zero"):
        convert(by_modelopt(spec))


@pytest.mark.skipif(find_spec("modelopt") is not None, reason="it is installed")
def test_without_modelopt_the_extra_is_named(order, monkeypatch):
    monkeypatch.delenv(PYTHON.variable, raising=False)

    with pytest.raises(MissingExtraError, match="nvidia-modelopt") as raised:
        convert(by_modelopt(order("cnn", precision="int8")))

    assert "triton_kit[quantize]" in raised.value.hint


def test_a_python_without_modelopt_is_named(order, monkeypatch):
    if find_spec("modelopt") is not None:
        pytest.skip("it is installed")
    monkeypatch.setenv(PYTHON.variable, sys.executable)

    with pytest.raises(MissingExtraError, match=sys.executable):
        convert(by_modelopt(order("cnn", precision="int8")))
