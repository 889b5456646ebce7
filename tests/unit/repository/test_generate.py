"""A config from one ONNX file."""

import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc.model_config_pb2 import ModelConfig


@pytest.fixture
def model(tmp_path):
    """Write an ONNX file whose tensors have these shapes."""

    def write(*shapes, path="digits.onnx"):
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip("xy", shapes, strict=True)
        ]
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(
            helper.make_model(helper.make_graph([], "g", values[:1], values[1:])), file
        )
        return file

    return write


def generated(result):
    assert result.exit_code == 0, result.output
    return text_format.Parse(result.output, ModelConfig())


def test_a_batch_axis_is_found(kit, model):
    config = generated(kit("generate", model(["n", 3, "w"], ["n", 10])))

    assert config.name == "digits"
    assert config.backend == "onnxruntime"
    assert config.max_batch_size == 8
    assert list(config.input[0].dims) == [3, -1]
    assert list(config.output[0].dims) == [10]


def test_without_a_batch_axis_there_is_no_batching(kit, model):
    config = generated(kit("generate", model([1, 3], ["n", 10])))

    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [1, 3]
    assert list(config.output[0].dims) == [-1, 10]


@pytest.mark.parametrize(
    "shapes",
    [(["n", 8, 4], ["k", 3]), (["n"], ["n"])],
    ids=["an axis of the output's own", "perhaps a length"],
)
def test_a_first_axis_that_may_be_no_batch_is_not_taken_for_one(kit, model, shapes):
    config = generated(kit("generate", model(*shapes)))

    assert config.max_batch_size == 0
    assert config.output[0].dims[0] == -1


def test_a_tensor_of_the_batch_axis_alone_has_one_value_a_request(kit, model):
    config = generated(kit("generate", model(["n", 3], ["n"])))

    assert config.max_batch_size == 8
    assert list(config.output[0].dims) == [1]
    assert config.output[0].HasField("reshape")
    assert not config.output[0].reshape.shape
    assert not config.input[0].HasField("reshape")


def test_a_scalar_is_one_value(kit, model):
    config = generated(kit("generate", model(["n", 3], [])))

    assert config.max_batch_size == 0
    assert list(config.output[0].dims) == [1]
    assert not config.output[0].HasField("reshape")


def test_options_say_what_the_file_cannot(kit, model):
    file = model(["n", 3], ["n", 1], path="resnet/1/model.onnx")
    config = generated(
        kit(
            *["generate", file, "--max-batch-size", 4],
            *["--instances", 2, "--dynamic-batching"],
        )
    )

    assert config.name == "resnet"
    assert config.max_batch_size == 4
    assert config.instance_group[0].count == 2
    assert config.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("shapes", "words", "said"),
    [
        (([3], ["n"]), ["--max-batch-size", "4"], "the first axis"),
        (([], ["n"]), ["--max-batch-size", "4"], "'x' is a scalar: it has no batch"),
        (([3], [3]), ["--dynamic-batching"], "needs a batch axis"),
        ((["n", 3], ["n", 3]), ["--instances", "-1"], "x>=1"),
        (([3], None), [], "no shape is known of y"),
        (([3], [3]), ["--max-batch-size", "-1"], "x>=0"),
    ],
)
def test_what_cannot_be_is_refused(kit, model, shapes, words, said):
    result = kit("generate", model(*shapes), *words)

    assert result.exit_code == 2
    assert said in result.output


def test_what_is_no_model_is_refused(kit, tmp_path):
    (tmp_path / "m.onnx").write_text("no model")

    result = kit("generate", tmp_path / "m.onnx")

    assert result.exit_code == 3
    assert "not an ONNX model" in result.output


def gemm(path, first, second, *, boxes=False):
    """y = x W, or the rows of x that are not zero."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 4], [0.0] * 12)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if boxes:
        nodes = [
            helper.make_node("NonZero", ["x"], ["at"]),
            helper.make_node("Transpose", ["at"], ["rows"]),
            helper.make_node("Cast", ["rows"], ["y"], to=TensorProto.FLOAT),
        ]
    ends = [
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [first, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [second, 4])],
    ]
    graph = helper.make_graph(nodes, "g", *ends, [weights])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path
    )
    return path


@pytest.mark.parametrize("second", ["other", "unk__7", "MatMuly_dim_0", None, "n"])
def test_the_graph_tells_the_batch_axis_where_names_differ(kit, tmp_path, second):
    config = generated(kit("generate", gemm(tmp_path / "m.onnx", "n", second)))

    assert config.max_batch_size == 8


def test_rows_that_are_counted_by_the_graph_are_no_batch(kit, tmp_path):
    config = generated(kit("generate", gemm(tmp_path / "m.onnx", "n", "k", boxes=True)))

    assert config.max_batch_size == 0


def test_the_config_goes_where_it_is_asked_to(kit, model, tmp_path):
    result = kit("generate", model(["n", 3], ["n", 1]), "-o", tmp_path / "c.pbtxt")

    assert result.exit_code == 0, result.output
    assert "max_batch_size: 8" in (tmp_path / "c.pbtxt").read_text()
