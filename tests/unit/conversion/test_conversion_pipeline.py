"""A model becomes an artifact that answers like it, or stays what it was."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.shapes import full_profiles, points_of
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError, SpecError, VerifyError
from triton_kit.options.shapes import ShapeRange
from triton_kit.tensors import Tensor, data_type

FP32 = data_type("FP32")


def model_of(nodes, *, inputs, outputs, initializers=()):
    def infos(tensors):
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in tensors.items()
        ]

    graph = helper.make_graph(
        nodes, "g", infos(inputs), infos(outputs), initializer=list(initializers)
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )


@pytest.fixture
def wasteful(tmp_path):
    """y = relu(x + (1 + 2)), with two identities in between."""
    one, two = (
        helper.make_tensor(name, TensorProto.FLOAT, [1], [value])
        for name, value in (("one", 1.0), ("two", 2.0))
    )
    nodes = [
        helper.make_node("Add", ["one", "two"], ["three"]),
        helper.make_node("Identity", ["x"], ["x1"]),
        helper.make_node("Add", ["x1", "three"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["sum1"]),
        helper.make_node("Relu", ["sum1"], ["y"]),
    ]
    path = tmp_path / "wasteful.onnx"
    model = model_of(
        nodes, inputs={"x": ["n", 4]}, outputs={"y": ["n", 4]}, initializers=[one, two]
    )
    onnx.save(model, path)
    return path


def spec_for(source, tmp_path, **changes):
    return ConvertSpec(
        **{"source": source, "output": tmp_path / "out.onnx", "profiles": ()} | changes
    )


def test_a_wasteful_graph_gets_smaller_with_equal_outputs(wasteful, tmp_path):
    result = convert(spec_for(wasteful, tmp_path))

    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    before, after = (
        ort.InferenceSession(path).run(None, {"x": x})[0]
        for path in (wasteful, result.artifact)
    )
    assert (result.nodes_before, result.nodes_after) == (5, 2)
    assert result.notes == ()
    np.testing.assert_array_equal(before, after)


def test_the_same_source_gives_the_same_bytes(wasteful, tmp_path):
    first = convert(spec_for(wasteful, tmp_path)).artifact.read_bytes()
    again = convert(spec_for(wasteful, tmp_path)).artifact.read_bytes()

    assert first == again


def test_tensors_keep_their_names_and_free_axes(wasteful, tmp_path):
    result = convert(spec_for(wasteful, tmp_path))

    assert result.inputs == (Tensor(name="x", dtype=FP32, shape=(-1, 4)),)
    assert result.outputs == (Tensor(name="y", dtype=FP32, shape=(-1, 4)),)


def test_a_model_that_does_not_run_is_named_with_the_reason(tmp_path):
    path = tmp_path / "broken.onnx"
    model = model_of(
        [helper.make_node("NoSuchOp", ["x"], ["y"], domain="made.up")],
        inputs={"x": [2]},
        outputs={"y": [2]},
    )
    model.opset_import.append(helper.make_opsetid("made.up", 1))
    onnx.save(model, path)

    with pytest.raises(VerifyError, match="NoSuchOp") as caught:
        convert(spec_for(path, tmp_path))

    assert str(path) in caught.value.message
    assert not (tmp_path / "out.onnx").exists()


def test_a_truncated_file_is_refused(wasteful, tmp_path):
    wasteful.write_bytes(wasteful.read_bytes()[:100])

    with pytest.raises(ConvertError, match="cut short"):
        convert(spec_for(wasteful, tmp_path))

    assert not (tmp_path / "out.onnx").exists()


def test_shapes_for_an_absent_input_name_the_nearest(wasteful, tmp_path):
    bounds = ShapeRange(min=(1, 4), opt=(1, 4), max=(2, 4))

    with pytest.raises(SpecError, match="'xx'") as caught:
        convert(spec_for(wasteful, tmp_path, profiles=({"xx": bounds},)))

    assert caught.value.hint == "did you mean 'x'?"


def test_shapes_that_the_graph_cannot_take_are_refused(wasteful, tmp_path):
    bounds = ShapeRange(min=(1, 5), opt=(1, 5), max=(2, 5))

    with pytest.raises(SpecError, match="do not fit"):
        convert(spec_for(wasteful, tmp_path, profiles=({"x": bounds},)))


def test_trial_shapes_fill_free_axes():
    free = Tensor(name="x", dtype=FP32, shape=(-1, 3, -1))

    points = points_of(full_profiles((), (free,)))

    assert points == {
        "profile 0 min": {"x": (1, 3, 1)},
        "profile 0 opt": {"x": (2, 3, 2)},
    }


def test_a_shape_range_names_the_axis_at_fault():
    with pytest.raises(SpecError, match="axis 1"):
        ShapeRange(min=(1, 8), opt=(4, 4), max=(8, 16))
