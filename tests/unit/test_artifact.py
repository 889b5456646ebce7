"""What a model file says of itself, and what is said of files that are none."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from triton_kit.artifact import inspect_onnx, inspect_plan
from triton_kit.errors import ConvertError


def value(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def write_model(path, *, inputs, outputs, initializers=(), opset=17):
    graph = helper.make_graph([], "g", inputs, outputs, list(initializers))
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", opset),
            helper.make_opsetid("ai.onnx.ml", 3),
        ],
        producer_name="tests",
        producer_version="1",
    )
    model.metadata_props.add(key="task", value="digits")
    onnx.save(model, path)
    return path


def test_an_onnx_graph_tells_its_tensors_and_opset(tmp_path):
    path = write_model(
        tmp_path / "m.onnx",
        inputs=[value("x", TensorProto.FLOAT, ["batch", 3, None, -1])],
        outputs=[
            value("y", TensorProto.INT64, []),
            value("s", TensorProto.STRING, [2]),
        ],
    )

    model = inspect_onnx(path)

    assert [(t.name, t.dtype.config, t.shape) for t in model.inputs] == [
        ("x", "TYPE_FP32", (-1, 3, -1, -1))
    ]
    assert [(t.name, t.dtype.name, t.shape) for t in model.outputs] == [
        ("y", "INT64", ()),
        ("s", "BYTES", (2,)),
    ]
    assert model.opset == 17
    assert model.opsets == {"": 17, "ai.onnx.ml": 3}
    assert model.producer == "tests 1"
    assert model.metadata == {"task": "digits"}
    assert model.axis_names["x"] == ("batch", None, None, None)


def test_an_initialiser_that_is_also_an_input_need_not_be_sent(tmp_path):
    weights = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    path = write_model(
        tmp_path / "m.onnx",
        inputs=[value("x", TensorProto.FLOAT, [2]), value("w", TensorProto.FLOAT, [2])],
        outputs=[],
        initializers=[weights],
    )

    assert [t.name for t in inspect_onnx(path).inputs] == ["x"]


def test_a_tensor_without_a_shape_is_named_as_such(tmp_path):
    path = write_model(
        tmp_path / "m.onnx", inputs=[], outputs=[value("y", TensorProto.FLOAT, None)]
    )

    assert inspect_onnx(path).unranked == {"y"}


def test_weight_files_beside_the_model_are_named(tmp_path):
    weights = numpy_helper.from_array(np.ones(2048, np.float32), "w")
    graph = helper.make_graph([], "g", [], [], [weights])
    onnx.save(
        helper.make_model(graph),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
    )

    assert inspect_onnx(tmp_path / "m.onnx").external_files == ("weights.bin",)


def test_an_output_that_is_no_tensor_says_so(tmp_path):
    sequence = helper.make_tensor_sequence_value_info("z", TensorProto.FLOAT, None)
    path = write_model(tmp_path / "m.onnx", inputs=[], outputs=[sequence])

    with pytest.raises(ConvertError, match="'z' is a sequence, not a tensor"):
        inspect_onnx(path)


def test_a_type_that_triton_lacks_is_named(tmp_path):
    path = write_model(
        tmp_path / "m.onnx",
        inputs=[value("x", TensorProto.FLOAT8E4M3FN, [1])],
        outputs=[],
    )

    with pytest.raises(ConvertError, match="FLOAT8E4M3FN"):
        inspect_onnx(path)


@pytest.mark.parametrize("keep", [0, 1, 0.3, 0.9])
def test_a_file_cut_short_is_an_error_with_its_path(tmp_path, keep):
    path = write_model(
        tmp_path / "m.onnx", inputs=[value("x", TensorProto.FLOAT, [1])], outputs=[]
    )
    whole = path.read_bytes()
    size = keep if isinstance(keep, int) else int(len(whole) * keep)
    path.write_bytes(whole[:size])

    with pytest.raises(ConvertError, match=r"m\.onnx"):
        inspect_onnx(path)


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(ConvertError, match="No such file"):
        inspect_onnx(tmp_path / "absent.onnx")
    with pytest.raises(ConvertError, match="Is a directory"):
        inspect_onnx(tmp_path)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_model_or_an_error(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("fuzz") / "m.onnx"
    path.write_bytes(garbage)

    with pytest.raises(ConvertError):
        inspect_onnx(path)


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_a_damaged_model_is_read_or_refused(tmp_path_factory, changes):
    path = write_model(
        tmp_path_factory.mktemp("fuzz") / "m.onnx",
        inputs=[value("x", TensorProto.FLOAT, ["n", 3])],
        outputs=[value("y", TensorProto.INT64, [1])],
    )
    damaged = bytearray(path.read_bytes())
    for at, byte in changes:
        damaged[at % len(damaged)] = byte
    path.write_bytes(damaged)

    with suppress(ConvertError):
        inspect_onnx(path)


def test_a_plan_tells_the_version_that_built_it(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(b"ftrt" + bytes(20) + bytes([10, 5, 0, 18]) + b"engine")

    header = inspect_plan(path)

    assert header.kind == "tensorrt"
    assert header.version_text == "10.5.0.18"


def test_an_rtx_engine_is_told_apart(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(b"vtrt" + bytes(20) + bytes([1, 7, 1, 116]))

    assert inspect_plan(path).kind == "tensorrt-rtx"


@pytest.mark.parametrize("content", [b"", b"ftrt", b"<html>" * 10])
def test_what_is_no_plan_is_an_error(tmp_path, content):
    path = tmp_path / "model.plan"
    path.write_bytes(content)

    with pytest.raises(ConvertError, match=r"model\.plan"):
        inspect_plan(path)
