"""Artifacts open in the ONNX Runtime of the release that they are for."""

import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError
from triton_kit.triton.onnx_limits import onnx_limits
from triton_kit.triton.releases import all_releases, find_release


def source(tmp_path, *, opset, ir):
    b = Builder()
    x = b.op("MatMul", "x", b.weight("w", (4, 4)))
    b.op("Relu", x, to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])], opset)
    model.ir_version = ir
    return saved(model, tmp_path / "m.onnx")


def converted(tmp_path, path, **fields):
    spec = ConvertSpec(source=path, output=tmp_path / "out" / "model.onnx", **fields)
    return onnx.load(convert(spec).artifact)


def test_the_file_format_is_the_oldest_that_the_operators_need(tmp_path):
    made = converted(tmp_path, source(tmp_path, opset=17, ir=11))

    assert (made.ir_version, made.opset_import[0].version) == (8, 17)


@pytest.mark.parametrize(
    ("release", "opset", "ir"), [("24.04", 20, 9), ("24.10", 21, 10)]
)
def test_a_newer_opset_is_lowered_for_the_release(tmp_path, release, opset, ir):
    path = source(tmp_path, opset=23, ir=11)

    made = converted(tmp_path, path, release=release)

    assert made.opset_import[0].version == opset
    assert made.ir_version <= ir


def test_without_a_release_the_opset_stays(tmp_path):
    made = converted(tmp_path, source(tmp_path, opset=23, ir=11))

    assert made.opset_import[0].version == 23


def test_an_operator_that_the_release_lacks_is_refused(tmp_path):
    b = Builder()
    b.op("Swish", "x", to="y")  # since opset 24
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])], 24)
    model.ir_version = 11

    with pytest.raises(ConvertError, match=r"1\.17\.3 of Triton 24\.04 takes up to"):
        converted(tmp_path, saved(model, tmp_path / "m.onnx"), release="24.04")


def test_a_precision_that_the_release_lacks_is_refused(tmp_path):
    path = source(tmp_path, opset=17, ir=8)

    with pytest.raises(ConvertError, match="as bf16 needs opset 22"):
        converted(tmp_path, path, release="24.10", precision="bf16")


def test_every_release_has_limits():
    limits = [onnx_limits(release) for release in all_releases()]

    assert [limit.opset for limit in limits] == sorted(limit.opset for limit in limits)
    assert onnx_limits(find_release("24.04")).opset == 20
    assert np.diff([limit.ir_version for limit in limits]).min() >= 0
