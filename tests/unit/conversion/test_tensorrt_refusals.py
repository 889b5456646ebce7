"""What TensorRT never builds is refused before anybody goes to a GPU."""

import struct

import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved
from onnx import helper as h

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.tensorrt.engine import as_tensorrt_has_it
from triton_kit.conversion.tensorrt.prebuilt import MissingPlansError
from triton_kit.errors import ConvertError
from triton_kit.tensors import Tensor, data_type

THREE = np.int8(3)


def dynamic(b):
    out = ["q", "scale", "zero"]
    b.nodes.append(h.make_node("DynamicQuantizeLinear", ["x"], out, name="dynamic"))
    b.op("DequantizeLinear", *out, to="y")
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])


def shifted(b, *, zero=THREE):
    b.constant("scale", np.float32(0.1))
    b.constant("zero", zero)
    b.op("DequantizeLinear", b.op("QuantizeLinear", "x", "scale", "zero"), "scale",
         "zero", to="y")  # fmt: skip
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])


def unsigned(b):
    return shifted(b, zero=np.uint8(0))


def strings(b):
    b.op("Identity", "x", to="y")
    return b.model([("x", T.STRING, ["n", 4])], [("y", T.STRING, ["n", 4])])


def forest(b):
    b.nodes.append(
        h.make_node("Normalizer", ["x"], ["y"], name="norm", domain="ai.onnx.ml")
    )
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    model.opset_import.append(h.make_opsetid("ai.onnx.ml", 3))
    return model


@pytest.mark.parametrize(
    ("build", "words", "hint"),
    [
        (dynamic, "'dynamic' (DynamicQuantizeLinear): it quantizes", "float model"),
        (shifted, "(QuantizeLinear): it quantizes with a zero point", "float model"),
        (unsigned, "it quantizes to uint8", "float model"),
        (strings, "'x' holds strings", "--artifact onnx"),
        (forest, "'norm' (Normalizer): TensorRT has no operators of", "--artifact"),
    ],
)
def test_node_and_reason_are_named(tmp_path, build, words, hint):
    source = saved(build(Builder()), tmp_path / "m.onnx")
    spec = ConvertSpec(
        source=source, output=tmp_path / "out" / "model.plan", format="plan"
    )

    with pytest.raises(ConvertError) as caught:
        convert(spec)

    assert words in caught.value.message
    assert hint in caught.value.hint
    assert not isinstance(caught.value, MissingPlansError)
    assert not spec.output.parent.exists()


def test_symmetric_pairs_are_not_refused(tmp_path):
    model = shifted(Builder(), zero=np.int8(0))
    source = saved(model, tmp_path / "m.onnx")
    spec = ConvertSpec(
        source=source, output=tmp_path / "out" / "model.plan", format="plan"
    )

    with pytest.raises(MissingPlansError):
        convert(spec)

    assert onnx.load(tmp_path / "out" / "model.onnx").graph.node


def scored(tmp_path, kind):
    b = Builder()
    b.weights.append(onnx.numpy_helper.from_array(np.ones((5, 1), np.float64), "w"))
    b.op("MatMul", "x", "w", to="y")
    model = b.model([("x", kind, ["n", 5])], [("y", kind, ["n", 1])])
    return saved(model, tmp_path / "m.onnx")


def test_float64_becomes_float32_in_a_plan(tmp_path):
    spec = ConvertSpec(
        source=scored(tmp_path, T.DOUBLE),
        output=tmp_path / "out" / "model.plan",
        format="plan",
    )
    with pytest.raises(MissingPlansError) as caught:
        convert(spec)
    header = b"ftrt" + struct.pack("<IQQ", 0, 0, 0) + bytes((10, 13, 3, 9))
    caught.value.plans[0].plan.write_bytes(header + bytes(200))

    result = convert(spec)

    assert [t.dtype.name for t in (*result.inputs, *result.outputs)] == ["FP32"] * 2


def test_the_profile_of_a_plan_goes_up_to_the_maximum_batch_size(tmp_path):
    spec = ConvertSpec(
        source=scored(tmp_path, T.DOUBLE),
        output=tmp_path / "out" / "model.plan",
        format="plan",
        max_batch_size=64,
    )

    with pytest.raises(MissingPlansError) as caught:
        convert(spec)

    words = caught.value.plans[0].words
    assert "--minShapes=x:1x5" in words
    assert "--maxShapes=x:64x5" in words


@pytest.mark.parametrize(
    ("dtype", "release", "found"),
    [
        ("INT64", "24.04", "INT32"),  # TensorRT 8.6
        ("INT64", "25.10", "INT64"),
        ("INT64", None, "INT64"),
        ("FP64", "25.10", "FP32"),
        ("FP16", "24.04", "FP16"),
    ],
)
def test_a_plan_has_the_types_of_its_tensorrt(dtype, release, found):
    tensor = Tensor(name="x", dtype=data_type(dtype), shape=(1,))

    assert as_tensorrt_has_it(tensor, release).dtype == data_type(found)
