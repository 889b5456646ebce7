"""What float16 and bfloat16 lose inside of a node, and branches that never ran."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved
from onnx import numpy_helper

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision import ranges_worker
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.models import write_feeds
from triton_kit.options.shapes import ShapeRange


def spec_of(model, tmp_path, shapes, **fields):
    source = saved(model, tmp_path / "source.onnx")
    profile = {n: ShapeRange(min=a, opt=b, max=c) for n, (a, b, c) in shapes.items()}
    output = tmp_path / "out" / "model.onnx"
    output.parent.mkdir(exist_ok=True)
    given = {"source": source, "output": output, "profiles": (profile,)}
    return ConvertSpec(**given | fields)


def kept_by_fp16(build, tmp_path, shape, values):
    """Convert a network of one input and output to fp16; return what stayed fp32."""
    b = Builder()
    build(b)
    row = ["n", *shape[1:]]
    model = b.model([("x", T.FLOAT, row)], [("y", T.FLOAT, row)])
    shapes = {"x": (shape, shape, shape)}
    np.savez(tmp_path / "values.npz", x=values)
    spec = spec_of(
        model, tmp_path, shapes, precision="fp16", verify_data=tmp_path / "values.npz"
    )
    return convert(spec).kept_fp32


def test_a_mean_whose_sum_overflows_inside_stays_float32(tmp_path):
    values = np.random.default_rng(0).uniform(80, 120, (2, 2048)).astype(np.float32)

    def mean(b):
        mean = b.op("ReduceMean", "x", axes=[1])
        b.op("Sub", "x", mean, to="y")

    kept = kept_by_fp16(mean, tmp_path, (2, 2048), values)

    assert "its sum reaches" in kept["reducemean_0"]
    assert "sub_1" not in kept


def test_a_logarithm_behind_a_tiny_epsilon_stays_float32(tmp_path):
    values = np.abs(np.random.default_rng(0).standard_normal((4, 64)))
    values[:, ::4] = 0

    def logarithm(b):
        safe = b.op("Add", "x", b.constant("eps", np.float32(1e-10)))
        b.op("Tanh", b.op("Log", safe), to="y")

    kept = kept_by_fp16(logarithm, tmp_path, (4, 64), values.astype(np.float32))

    assert {"add_0", "log_1"} <= set(kept)
    assert "tanh_2" not in kept


def test_a_mask_of_the_largest_float32_is_no_infinity_in_bf16(tmp_path):
    b = Builder()
    mask = np.where(np.arange(8) < 5, 0, np.finfo(np.float32).min).astype(np.float32)
    b.op("Softmax", b.op("Add", "x", b.constant("mask", mask)), axis=-1)
    b.op("MatMul", "softmax_1_out", b.weight("w", (8, 8)), to="y")
    model = b.model([("x", T.FLOAT, ["n", 8])], [("y", T.FLOAT, ["n", 8])])
    shapes = {"x": ((1, 8), (4, 8), (8, 8))}

    result = convert(spec_of(model, tmp_path, shapes, precision="bf16"))

    assert "beyond bf16" in result.kept_fp32["add_0"]
    assert result.accuracy.min_snr_db > 30


def with_if(condition_of):
    """Double positive sums, negate the others."""
    branches = {
        f"{name}_branch": onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["x", *more], [name])],
            name,
            [],
            [onnx.helper.make_tensor_value_info(name, T.FLOAT, None)],
        )
        for name, op, more in (("then", "Add", ["x"]), ("else", "Neg", []))
    }
    b = Builder()
    total = b.op("ReduceSum", condition_of(b), keepdims=0)
    positive = b.op("Greater", total, b.constant("zero", np.float32(0)))
    b.op("If", positive, to="y", **branches)
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])


def with_loop(factor):
    """Multiply x, (n, 64), by a weight from outside, and by a factor and back."""
    make = onnx.helper.make_node
    value = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [
            make("MatMul", ["state", "w"], ["product"]),
            make("Mul", ["product", "factor"], ["grown"]),
            make("Div", ["grown", "factor"], ["shrunk"]),
            make("Tanh", ["shrunk"], ["next"]),
            make("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            value("i", T.INT64, []),
            value("go", T.BOOL, []),
            value("state", T.FLOAT, None),
        ],
        [value("on", T.BOOL, []), value("next", T.FLOAT, None)],
        [numpy_helper.from_array(np.float32(factor), "factor")],
    )
    b = Builder()
    b.weight("w", (64, 64))
    x = b.op("MatMul", "x", b.weight("first", (64, 64)))
    b.op("Loop", b.constant("times", np.int64(3)), "", x, to="y", body=body)
    return b.model([("x", T.FLOAT, ["n", 64])], [("y", T.FLOAT, ["n", 64])])


def inner_types(model):
    """Return the types of the weights that the body of the first Loop reads."""
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    (body,) = [attribute.g for attribute in loop.attribute if attribute.name == "body"]
    read = {name for node in body.node for name in node.input}
    weights = (*model.graph.initializer, *body.initializer)
    return {tensor.name: tensor.data_type for tensor in weights if tensor.name in read}


def test_bodies_of_loops_become_fp16_with_the_weights_that_they_take(tmp_path):
    shapes = {"x": ((1, 64), (4, 64), (8, 64))}

    result = convert(spec_of(with_loop(3), tmp_path, shapes, precision="fp16"))

    model = onnx.load(result.artifact)
    assert set(inner_types(model).values()) == {T.FLOAT16}
    assert "w" not in {tensor.name for tensor in model.graph.initializer}
    assert result.accuracy.runtime_level == "all"
    assert 50 < result.accuracy.min_snr_db < 90


def test_a_body_that_overflows_stays_float32(tmp_path):
    shapes = {"x": ((1, 64), (4, 64), (8, 64))}

    result = convert(spec_of(with_loop(6e4), tmp_path, shapes, precision="fp16"))

    assert inner_types(onnx.load(result.artifact))["w"] == T.FLOAT
    assert any("bodies of control flow in fp32" in note for note in result.notes)
    assert result.accuracy.min_snr_db > 50


def test_weights_in_a_body_that_fp16_cannot_hold_keep_their_nodes(tmp_path):
    shapes = {"x": ((1, 64), (4, 64), (8, 64))}

    result = convert(spec_of(with_loop(1e6), tmp_path, shapes, precision="fp16"))

    kept = [name for name, why in result.kept_fp32.items() if "holds 1e+06" in why]
    assert len(kept) == 2
    assert all(name.startswith("loop_1/") for name in kept)


@pytest.mark.parametrize(
    ("condition_of", "is_noted"),
    [(lambda b: b.op("Abs", "x"), True), (lambda _: "x", False)],
    ids=["always positive", "either"],
)
def test_a_branch_that_never_ran_is_noted(tmp_path, condition_of, is_noted):
    values = np.where(np.arange(8)[:, None] % 2, 1.0, -1.0) * np.ones((8, 4))
    np.savez(tmp_path / "v.npz", x=values.astype(np.float32))
    shapes = {"x": ((1, 4), (1, 4), (1, 4))}
    spec = spec_of(
        with_if(condition_of), tmp_path, shapes, verify_data=tmp_path / "v.npz"
    )

    notes = [n for n in convert(spec).notes if "only the then branch" in n]

    assert len(notes) == is_noted


def bf16_network(border):
    """A product whose weights are bfloat16; `border` is the type around it."""
    weight = np.random.default_rng(0).standard_normal((4, 4)).astype(ml_dtypes.bfloat16)
    make = onnx.helper.make_node
    product = [make("MatMul", ["low", "w"], ["product"])]
    if border == T.FLOAT:
        down = make("Cast", ["x"], ["low"], to=T.BFLOAT16)
        up = make("Cast", ["product"], ["y"], to=T.FLOAT)
        product = [down, *product, up]
    else:
        product = [
            make("MatMul", ["x", "w"], ["product"]),
            make("Tanh", ["product"], ["y"]),
        ]
    graph = onnx.helper.make_graph(
        product,
        "bf16",
        [onnx.helper.make_tensor_value_info("x", border, ["n", 4])],
        [onnx.helper.make_tensor_value_info("y", border, ["n", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("border", [T.FLOAT, T.BFLOAT16], ids=["float", "bfloat16"])
@pytest.mark.parametrize(
    ("precision", "device", "found", "method"),
    [
        ("fp32", "cpu", "fp32", "run"),  # the CPU has no kernels of bfloat16
        ("fp32", "gpu", "bf16", "rounded"),
        ("bf16", "cpu", "bf16", "rounded"),
        ("fp16", "cpu", "fp16", "rounded"),
    ],
)
def test_a_source_in_bfloat16_converts(
    tmp_path, border, precision, device, found, method
):
    shapes = {"x": ((1, 4), (4, 4), (8, 4))}
    spec = spec_of(
        bf16_network(border), tmp_path, shapes, precision=precision, device=device
    )

    result = convert(spec)

    assert (result.precision, result.accuracy.method) == (found, method)
    is_kept = found == "bf16" and border == T.BFLOAT16
    assert {t.dtype.name for t in result.outputs} == {"BF16" if is_kept else "FP32"}
    is_noted = any("the source is bfloat16" in note for note in result.notes)
    assert is_noted == (found != "bf16")


@pytest.mark.parametrize(("batch", "parts"), [("n", [1, 10, 9]), (20, [20])])
def test_long_batches_are_observed_in_parts_that_fit(
    tmp_path, monkeypatch, batch, parts
):
    b = Builder()
    b.op("Relu", "x", to="y")
    model = b.model([("x", T.FLOAT, [batch, 8])], [("y", T.FLOAT, [batch, 8])])
    values = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    files = write_feeds([{"x": values}], tmp_path / "feeds")
    request = {
        "model": str(saved(model, tmp_path / "m.onnx")),
        "values": ["x", "y"],
        "feeds": [str(path) for path in files.paths],
        "names": files.names,
        "op_libraries": [],
    }
    row_bytes = 2 * 8 * 4  # x and y
    monkeypatch.setattr(ranges_worker, "MOST_BYTES", 10 * row_bytes)

    found = list(ranges_worker.values_by_feed(request))

    assert [len(x) for x, _ in found] == parts
    assert np.array_equal(np.concatenate([x for x, _ in found]), values)
