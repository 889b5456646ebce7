"""Models at the edge of what a graph may be: each ended in a traceback once."""

import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError
from triton_kit.options.conversion import Calibration


def linear(b):
    """float32 x (n, 4) -> y (n, 3)."""
    b.op("MatMul", "x", b.weight("w", (4, 3)), to="y")
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 3])], opset=11)


def spec_of(model, tmp_path, **fields):
    """An order of a model, with samples for every input."""
    source = saved(model, tmp_path / "source.onnx")
    data = tmp_path / "samples.npz"
    rng = np.random.default_rng(1)
    weights = {tensor.name for tensor in model.graph.initializer}
    samples = {}
    for value in model.graph.input:
        if value.name not in weights:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            shape = (32, *(axis.dim_value for axis in kind.shape.dim[1:]))
            plain = str if dtype == np.dtype(object) else dtype
            samples[value.name] = (4 * rng.random(shape)).astype(plain)
    np.savez(data, **samples)
    given = {"output": tmp_path / "out" / "model.onnx"}
    return ConvertSpec(
        source=source, **given | {"calibration": Calibration(data=data)} | fields
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_weights_that_are_inputs_too_become_plain_weights(tmp_path, precision):
    model = linear(Builder())
    model.ir_version = 3
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", T.FLOAT, [4, 3]))

    result = convert(spec_of(model, tmp_path, precision=precision))

    made = onnx.load(result.artifact)
    onnx.checker.check_model(made)
    assert [value.name for value in made.graph.input] == ["x"]
    assert made.ir_version >= 4


def unread_input(b):
    b.op("Relu", "x", to="y")
    inputs = [("x", T.FLOAT, ["n", 4]), ("mask", T.INT64, ["n", 2])]
    return b.model(inputs, [("y", T.FLOAT, ["n", 4])])


def constant_of_floats(b):
    weight = b.op("Constant", value_floats=[1.0, 2.0, 3.0, 4.0])
    b.op("Add", b.op("MatMul", "x", b.weight("w", (4, 4))), weight, to="y")
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])


@pytest.mark.parametrize(
    ("build", "precision"),
    [
        (unread_input, "fp16"),
        (constant_of_floats, "fp16"),
        (constant_of_floats, "int8"),
    ],
)
def test_a_graph_that_simplifying_breaks_is_left_as_it_was(tmp_path, build, precision):
    model = build(Builder())

    result = convert(spec_of(model, tmp_path, precision=precision))

    assert [tensor.name for tensor in result.inputs] == [
        value.name for value in model.graph.input
    ]
    assert any("kept the graph as it was" in note for note in result.notes)


def same(kind):
    def build(b):
        b.op("Identity", "x", to="y")
        return b.model([("x", kind, ["n", 4])], [("y", kind, ["n", 4])])

    return build


def rounded(b):
    b.nodes.append(onnx.helper.make_node("Cast", ["x"], ["y"], to=T.INT64))
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.INT64, ["n", 4])])


def no_weights(b):
    b.op("Relu", "x", to="y")
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])


@pytest.mark.parametrize(
    ("build", "precision"),
    [
        (same(T.STRING), "int8"),
        (same(T.BOOL), "int8"),
        (rounded, "int8"),
        (no_weights, "int8"),
    ],
    ids=["string", "bool", "float32 in int8", "no weights"],
)
def test_an_artifact_is_never_named_for_a_precision_it_lacks(
    tmp_path, build, precision
):
    spec = spec_of(build(Builder()), tmp_path, precision=precision)

    with pytest.raises(ConvertError, match=f"nothing in it became {precision}"):
        convert(spec)

    assert not spec.output.exists()


def test_a_float16_graph_is_float16(tmp_path):
    result = convert(spec_of(same(T.FLOAT16)(Builder()), tmp_path, precision="fp16"))

    assert result.artifact.is_file()


def quantized_before(b):
    b.constant("scale", np.float32(0.1))
    b.constant("zero", np.uint8(0))
    back = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", "scale", "zero"),
                "scale", "zero")  # fmt: skip
    b.op("Neg", back, to="y")
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])


@pytest.mark.parametrize(
    ("build", "name"), [(same(T.FLOAT16), "fp16"), (quantized_before, "int8")]
)
def test_a_source_in_low_precision_is_called_so(tmp_path, build, name):
    result = convert(spec_of(build(Builder()), tmp_path))

    assert result.precision == name
    assert result.manifest["spec"]["precision"] == "fp32"


def test_nodes_that_are_kept_are_counted_in_a_note(tmp_path):
    b = Builder()
    x = b.op("MatMul", "x", b.weight("a", (4, 4)))
    b.op("MatMul", x, b.weight("b", (4, 12)), to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 12])])

    spec = spec_of(model, tmp_path, precision="fp16", keep_fp32=("matmul_0",))

    assert (
        "1 of 2 Conv, Gemm, MatMul and recurrent nodes, with 75% of their "
        "multiplications, are fp16" in convert(spec).notes
    )


def test_an_artifact_is_not_named_for_a_quarter_of_its_work(tmp_path):
    b = Builder()
    x = b.op("MatMul", "x", b.weight("a", (4, 4)))
    b.op("MatMul", x, b.weight("b", (4, 12)), to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 12])])
    spec = spec_of(model, tmp_path, precision="fp16", keep_fp32=("matmul_1",))

    with pytest.raises(ConvertError, match="with 25% of their multiplications"):
        convert(spec)


@pytest.mark.parametrize("build", [no_weights, same(T.INT64)])
def test_auto_chooses_no_precision_that_changes_nothing(tmp_path, build):
    result = convert(spec_of(build(Builder()), tmp_path, precision="auto"))

    assert result.precision in ("fp16", "fp32")
    assert any(
        row.precision == "int8" and "nothing in it became int8" in (row.why_not or "")
        for row in result.tried
    )


def test_a_graph_without_float32_values_is_called_so(tmp_path):
    b = Builder()
    b.op("Sin", "x", to="y")
    model = b.model([("x", T.DOUBLE, ["n", 4])], [("y", T.DOUBLE, ["n", 4])])

    with pytest.raises(ConvertError, match="it has no float32 values, but double"):
        convert(spec_of(model, tmp_path, precision="fp16"))


def test_int8_for_the_cpu_says_that_the_rest_stays_float32(tmp_path):
    spec = spec_of(linear(Builder()), tmp_path, precision="int8", rest="fp16")

    result = convert(spec)

    assert any("the rest stays fp32, not fp16" in note for note in result.notes)


@pytest.mark.parametrize(
    ("precision", "fields"),
    [("fp32", {}), ("fp16", {}), ("int8", {}), ("fp32", {"opset": 13})],
)
def test_metadata_and_descriptions_stay(tmp_path, precision, fields):
    model = linear(Builder())
    onnx.helper.set_model_props(model, {"names": "cat,dog"})
    model.doc_string, model.graph.doc_string = "of pets", "one layer"

    result = convert(spec_of(model, tmp_path, precision=precision, **fields))

    made = onnx.load(result.artifact)
    assert {p.key: p.value for p in made.metadata_props} == {"names": "cat,dog"}
    assert (made.doc_string, made.graph.doc_string) == ("of pets", "one layer")


def forest(labels, outputs=("maps",)):
    """One stump over two classes, with the ZipMap that scikit-learn's export adds."""
    ml = "ai.onnx.ml"
    stump = onnx.helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "scores"],
        domain=ml,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        class_treeids=[0, 0, 0, 0],
        class_nodeids=[1, 1, 2, 2],
        class_ids=[0, 1, 0, 1],
        class_weights=[0.9, 0.1, 0.2, 0.8],
        classlabels_strings=labels,
    )
    maps = [
        onnx.helper.make_node(
            "ZipMap", ["scores"], [name], domain=ml, classlabels_strings=labels
        )
        for name in outputs
    ]
    kind = onnx.helper.make_sequence_type_proto(
        onnx.helper.make_map_type_proto(
            T.STRING, onnx.helper.make_tensor_type_proto(T.FLOAT, [])
        )
    )
    graph = onnx.helper.make_graph(
        [stump, *maps],
        "forest",
        [onnx.helper.make_tensor_value_info("x", T.FLOAT, ["n", 2])],
        [
            onnx.helper.make_tensor_value_info("label", T.STRING, ["n"]),
            *(onnx.helper.make_value_info(name, kind) for name in outputs),
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(ml, 3)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_maps_of_probabilities_become_a_tensor(tmp_path):
    spec = spec_of(forest(["cat", "dog"]), tmp_path)

    result = convert(spec)

    (_, scores) = result.outputs
    assert (scores.name, scores.shape) == ("maps", (-1, 2))
    metadata = {m.key: m.value for m in onnx.load(result.artifact).metadata_props}
    assert metadata["class_labels"] == '["cat", "dog"]'
    assert any("was a list of maps" in note for note in result.notes)


def test_each_of_several_maps_keeps_its_labels(tmp_path):
    result = convert(spec_of(forest(["cat", "dog"], ("a", "b")), tmp_path))

    made = onnx.load(result.artifact)
    onnx.checker.check_model(made)
    assert {m.key: m.value for m in made.metadata_props} == {
        "class_labels.a": '["cat", "dog"]',
        "class_labels.b": '["cat", "dog"]',
    }
