"""Constant scales and shifts beside products: which are folded, and which are not."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from convert_networks import Builder
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

from triton_kit.conversion.onnx.affine import fold_affine
from triton_kit.conversion.onnx.weight_files import (
    Limits,
    apart_from_bytes,
    is_apart,
    weights_in,
)
from triton_kit.conversion.onnx.weight_reader import load_apart

CHANNELS = (1, 4, 1, 1)  # of an image
IMAGE, ROWS = ("n", 4, 6, 6), ("n", 4)


def made(build, shape=IMAGE, out=None, opset=17, kind=T.FLOAT):
    """Return the model of `build(builder, input)`, which returns its output."""
    b = Builder(seed=1)
    y = build(b, "x")
    out = out or ["n", *[None] * (len(shape) - 1)]
    return b.model([("x", kind, shape)], [(y, kind, out)], opset=opset)


def constant(b, shape=(), low=0.5, dtype=np.float32):
    values = b.rng.uniform(low, 2, shape).astype(dtype)
    return b.constant(f"c{len(b.weights)}", values)


def conv(b, x, shape=(4, 4, 3, 3), *, bias=True, op="Conv", **attributes):
    name = f"w{len(b.weights)}"
    parts = [x, b.weight(name, shape)]
    if bias:
        count = shape[0] if op == "Conv" else shape[1] * attributes.get("group", 1)
        parts.append(b.weight(f"{name}_b", (count,), 1.0))
    return b.op(op, *parts, **attributes)


def run(model, count=3, dtype=np.float32):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    shape = [
        size if isinstance(size, int) else count
        for size in session.get_inputs()[0].shape
    ]
    x = np.random.default_rng(7).standard_normal(shape).astype(dtype)
    return session.run(None, {"x": x})


def operators(model):
    return [node.op_type for node in model.graph.node]


def fold(model, dtype=np.float32):
    """Fold a model in place; check that it computes the same, and return it."""
    before = run(model, dtype=dtype)
    count = len(model.graph.node)
    gone = fold_affine(model)
    onnx.checker.check_model(model, full_check=True)
    assert gone == count - len(model.graph.node)
    for old, new in zip(before, run(model, dtype=dtype), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
    return model


def batch_norm(b, x, channels=4):
    parts = [constant(b, (channels,)) for _ in range(4)]
    return b.op("BatchNormalization", x, *parts)


AFTER = {
    "Mul": lambda b, x: b.op("Mul", x, constant(b, CHANNELS)),
    "Mul by a scalar": lambda b, x: b.op("Mul", constant(b), x),
    "Add": lambda b, x: b.op("Add", x, constant(b, CHANNELS)),
    "Sub": lambda b, x: b.op("Sub", x, constant(b, (4, 1, 1))),
    "Sub from a constant": lambda b, x: b.op("Sub", constant(b, CHANNELS), x),
    "Div": lambda b, x: b.op("Div", x, constant(b, CHANNELS)),
    "BatchNormalization": batch_norm,
    "a chain": lambda b, x: b.op(
        "Div",
        b.op("Add", b.op("Mul", x, constant(b)), constant(b, CHANNELS)),
        constant(b),
    ),
}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("bias", [True, False])
def test_what_follows_a_convolution_is_folded_into_it(after, bias):
    model = made(lambda b, x: after(b, conv(b, x, bias=bias, pads=[1] * 4)))

    assert operators(fold(model)) == ["Conv"]
    assert len({t.name for t in model.graph.initializer}) == len(
        model.graph.initializer
    )


def test_a_convolution_without_bias_gets_none_for_a_scale():
    model = made(lambda b, x: b.op("Mul", conv(b, x, bias=False), constant(b)))

    assert len(fold(model).graph.node[0].input) == 2


@pytest.mark.parametrize("group", [1, 2])
def test_what_follows_a_transposed_convolution_is_folded_into_it(group):
    model = made(
        lambda b, x: batch_norm(
            b,
            conv(b, x, (4, 6 // group, 3, 3), op="ConvTranspose", group=group),
            channels=6,
        )
    )

    assert operators(fold(model)) == ["ConvTranspose"]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias_shape", [None, (5,), (1, 5), (1,), ()])
def test_what_follows_a_gemm_is_folded_into_it(transposed, bias_shape):
    def build(b, x):
        parts = [b.weight("w", (5, 4) if transposed else (4, 5))]
        if bias_shape is not None:
            parts.append(constant(b, bias_shape))
        x = b.op("Gemm", x, *parts, transB=transposed)
        return b.op("Add", b.op("Mul", x, constant(b, (5,))), constant(b, (1, 5)))

    assert operators(fold(made(build, ROWS))) == ["Gemm"]


def test_a_scale_is_folded_into_a_matmul_and_the_rest_is_added():
    def build(b, x):
        x = b.op("MatMul", x, b.weight("w", (4, 5)))
        x = b.op("Add", x, constant(b, (5,)))
        return b.op("Div", x, constant(b, (5,)))

    assert operators(fold(made(build, ("n", 3, 4)))) == ["MatMul", "Add"]


@pytest.mark.parametrize(
    ("attributes", "left"),
    [
        ({}, ["Relu", "Conv"]),
        ({"auto_pad": "VALID"}, ["Relu", "Conv"]),
        ({"group": 2}, ["Relu", "Conv"]),
        ({"pads": [1] * 4}, ["Relu", "Mul", "Add", "Conv"]),
        ({"auto_pad": "SAME_UPPER"}, ["Relu", "Mul", "Add", "Conv"]),
    ],
)
def test_a_shift_is_folded_into_the_convolution_after_it_without_padding(
    attributes, left
):
    def build(b, x):
        x = b.op("Mul", b.op("Relu", x), constant(b, CHANNELS))
        x = b.op("Add", x, constant(b, CHANNELS))
        return conv(b, x, (4, 4 // attributes.get("group", 1), 3, 3), **attributes)

    assert operators(fold(made(build))) == left


def test_a_scale_passes_the_padding():
    def build(b, x):
        return conv(
            b, b.op("Mul", b.op("Relu", x), constant(b, CHANNELS)), pads=[1] * 4
        )

    assert operators(fold(made(build))) == ["Relu", "Conv"]


def test_of_a_uniform_scale_and_a_shift_only_the_shift_stays_before_padding():
    def build(b, x):
        x = b.op("Mul", b.op("Relu", x), constant(b))
        return conv(b, b.op("Add", x, constant(b, CHANNELS)), pads=[1] * 4)

    assert operators(fold(made(build))) == ["Relu", "Add", "Conv"]


def test_a_scale_is_folded_into_the_transposed_convolution_after_it():
    def build(b, x):
        x = b.op("Mul", b.op("Relu", x), constant(b, CHANNELS))
        return conv(b, x, (4, 3, 3, 3), op="ConvTranspose", group=2)

    assert operators(fold(made(build))) == ["Relu", "ConvTranspose"]


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_scale_and_shift_are_folded_into_the_gemm_after_them(transposed):
    def build(b, x):
        x = b.op("Mul", b.op("Relu", x), constant(b, (4,)))
        x = b.op("Sub", x, constant(b, (4,)))
        weight = b.weight("w", (5, 4) if transposed else (4, 5))
        return b.op("Gemm", x, weight, transB=transposed)

    assert operators(fold(made(build, ROWS))) == ["Relu", "Gemm"]


def test_a_chain_that_no_product_takes_becomes_one_mul_and_one_add():
    def build(b, x):
        x = b.op("Relu", conv(b, x))
        for op in ("Mul", "Add", "Div", "Add"):
            x = b.op(op, x, constant(b, CHANNELS))
        return b.op("Relu", x)

    assert operators(fold(made(build))) == ["Conv", "Relu", "Mul", "Add", "Relu"]


def test_a_shift_alone_needs_no_copy_of_a_shared_weight():
    def build(b, x):
        weight = b.weight("w", (4, 4, 3, 3))
        shifted = b.op("Add", b.op("Conv", x, weight), constant(b, CHANNELS))
        return b.op("Concat", shifted, b.op("Conv", x, weight), axis=1)

    model = fold(made(build))

    assert operators(model) == ["Conv", "Conv", "Concat"]
    assert [len(tensor.dims) for tensor in model.graph.initializer] == [4, 1]


def test_float64_is_folded():
    def build(b, x):
        weight = b.constant("w", b.rng.standard_normal((4, 5)))
        return b.op(
            "Mul", b.op("MatMul", x, weight), constant(b, (5,), dtype=np.float64)
        )

    model = made(build, ROWS, kind=T.DOUBLE)

    assert operators(fold(model, np.float64)) == ["MatMul"]


def test_a_weight_of_two_nodes_stays_that_of_the_other():
    def build(b, x):
        weight, bias = b.weight("w", (4, 4, 3, 3)), b.weight("b", (4,), 1.0)
        scaled = b.op("Mul", b.op("Conv", x, weight, bias), constant(b, CHANNELS))
        return b.op("Concat", scaled, b.op("Conv", x, weight, bias), axis=1)

    model = fold(made(build))

    assert operators(model) == ["Conv", "Conv", "Concat"]
    assert len(model.graph.initializer) == 4


def test_a_large_weight_of_two_nodes_is_not_copied():
    def build(b, x):
        weight = b.weight("w", (2, 300_000))
        y = b.op("MatMul", b.op("Flatten", x), weight)
        z = b.op("MatMul", b.op("Relu", x), weight)
        scaled = b.op("Add", b.op("Mul", y, constant(b)), constant(b))
        return b.op("Add", scaled, z)

    model = fold(made(build, ("n", 2)))

    assert [tensor.name for tensor in model.graph.initializer if tensor.dims] == ["w"]
    assert operators(model).count("Mul") == 1


def test_factors_that_cancel_around_a_convolution_do_so_in_its_weight():
    def build(b, x):
        sizes = constant(b, CHANNELS)
        x = b.op("Mul", b.op("Relu", x), sizes)
        x = b.op("Div", conv(b, x, (4, 1, 3, 3), bias=False, group=4), sizes)
        return conv(b, x)

    model = made(build)
    weights = {t.name: nh.to_array(t) for t in model.graph.initializer}

    assert operators(fold(model)) == ["Relu", "Conv", "Conv"]
    for tensor in model.graph.initializer:
        np.testing.assert_allclose(nh.to_array(tensor), weights[tensor.name], rtol=1e-6)


def test_a_new_name_is_not_one_that_a_body_has():
    def build(b, x):
        taken = h.make_graph(
            [h.make_node("Relu", ["conv_0_bias_affine"], ["inside"])],
            "body",
            [],
            [h.make_tensor_value_info("inside", T.FLOAT, None)],
            [nh.from_array(np.ones(1, np.float32), "conv_0_bias_affine")],
        )
        y = b.op("Add", conv(b, x, bias=False), constant(b, CHANNELS))
        flag = b.constant("flag", np.array(True))
        return b.op("Add", y, b.op("If", flag, then_branch=taken, else_branch=taken))

    assert operators(fold(made(build))) == ["Conv", "If", "Add"]


def second_reader(b, x):
    x = conv(b, x)
    return b.op("Add", b.op("Mul", x, constant(b, CHANNELS)), b.op("Relu", x))


def read_by_body(b, x):
    y = conv(b, x)
    body = h.make_graph(
        [h.make_node("Relu", [y], ["inside"])],
        "body",
        [],
        [h.make_tensor_value_info("inside", T.FLOAT, None)],
    )
    flag = b.constant("flag", np.array(True))
    scaled = b.op("Mul", y, constant(b, CHANNELS))
    return b.op("Add", scaled, b.op("If", flag, then_branch=body, else_branch=body))


def along_width(b, x):
    return b.op("Mul", conv(b, x, (4, 4, 1, 1)), constant(b, (6,)))


def along_two_axes(b, x):
    return b.op("Add", conv(b, x, (4, 4, 1, 1)), constant(b, (4, 6, 1)))


def more_axes(b, x):
    x = b.op("Mul", conv(b, x), constant(b, (1, 1, 1, 1, 1)))
    return b.op("Squeeze", x, b.constant("axes", np.array([0])))


def more_channels(b, x):
    return b.op("Mul", conv(b, x, (1, 4, 3, 3)), constant(b, CHANNELS))


def divided(b, x):
    return b.op("Div", constant(b), b.op("Exp", conv(b, x)))


def no_constant(b, x):
    return b.op("Mul", conv(b, x), b.op("Sigmoid", conv(b, x)))


def zero_divisor(b, x):
    return b.op(
        "Clip", b.op("Div", conv(b, x), b.constant("c", np.zeros((), np.float32)))
    )


def scaled_gemm(b, x):
    x = b.op("Gemm", x, b.weight("w", (4, 4)), b.weight("b", (4,), 1.0), alpha=0.5)
    return b.op("Mul", x, constant(b))


def gelu(b, x):
    y = b.op("Erf", b.op("Div", x, constant(b)))
    y = b.op("Mul", x, b.op("Add", y, b.constant("one", np.ones((), np.float32))))
    y = b.op("Mul", y, b.constant("half", np.full((), 0.5, np.float32)))
    return b.op("MatMul", y, b.weight("w", (4, 4)))


def normalized(b, x):
    y = b.op("Div", x, b.op("Sqrt", b.op("ReduceMean", b.op("Mul", x, x), axes=[1])))
    y = b.op("Mul", y, constant(b, (4,)))
    return b.op("MatMul", y, b.weight("w", (4, 4)))


OF_IMAGES = [
    second_reader,
    read_by_body,
    along_width,
    along_two_axes,
    more_axes,
    more_channels,
    divided,
    no_constant,
    zero_divisor,
]


@pytest.mark.parametrize("build", OF_IMAGES)
def test_what_would_not_be_the_same_stays(build):
    model = made(build)
    before = operators(model)

    assert operators(fold(model)) == before


@pytest.mark.parametrize("build", [scaled_gemm, gelu, normalized])
def test_what_runtimes_fuse_stays(build):
    model = made(build, ROWS)
    before = operators(model)

    assert operators(fold(model)) == before


def test_an_output_of_the_graph_stays():
    b = Builder()
    y = conv(b, "x")
    end = b.op("Mul", y, constant(b, CHANNELS))
    shape = ["n", 4, None, None]
    model = b.model(
        [("x", T.FLOAT, IMAGE)], [(y, T.FLOAT, shape), (end, T.FLOAT, shape)]
    )

    assert operators(fold(model)) == ["Conv", "Mul"]


def test_a_weight_that_is_an_input_too_stays():
    def build(b, x):
        return b.op("Mul", conv(b, x, bias=False), constant(b, CHANNELS))

    model = made(build)
    model.graph.input.append(h.make_tensor_value_info("w0", T.FLOAT, (4, 4, 3, 3)))

    assert fold_affine(model) == 0


def test_a_scale_that_the_type_does_not_hold_stays():
    def build(b, x):
        weight = b.constant("w", np.full((4, 4, 1, 1), 1e30, np.float32))
        return b.op("Mul", b.op("Conv", x, weight), b.constant("c", np.float32(1e30)))

    model = made(build)

    assert fold_affine(model) == 0
    assert operators(model) == ["Conv", "Mul"]


def test_whole_numbers_stay():
    def build(b, x):
        weight = b.constant("w", b.rng.integers(-3, 3, (4, 5)).astype(np.int32))
        product = b.op("MatMul", x, weight)
        return b.op("Mul", product, b.constant("c", np.array(3, np.int32)))

    model = made(build, ROWS, kind=T.INT32)

    assert operators(fold(model, np.int32)) == ["MatMul", "Mul"]


def test_nodes_in_bodies_stay():
    b = Builder()
    y = conv(b, "x")
    body = h.make_graph(
        [*b.nodes, h.make_node("Mul", [y, "c"], ["inside"])],
        "body",
        [],
        [h.make_tensor_value_info("inside", T.FLOAT, None)],
        [nh.from_array(np.full((), 2, np.float32), "c")],
    )
    b.nodes = []
    flag = b.constant("flag", np.array(True))
    end = b.op("If", flag, then_branch=body, else_branch=body)
    end = conv(b, end)
    model = b.model([("x", T.FLOAT, IMAGE)], [(end, T.FLOAT, ["n", 4, None, None])])

    assert operators(fold(model)) == ["If", "Conv"]
    assert [n.op_type for n in model.graph.node[0].attribute[0].g.node] == [
        "Conv",
        "Mul",
    ]


def test_weights_in_files_stay(tmp_path):
    model = made(lambda b, x: b.op("Mul", conv(b, x), constant(b, CHANNELS)))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)

    with weights_in(tmp_path, limits=Limits(model=1, tensor=128)):
        assert apart_from_bytes(1 << 20)
        read = load_apart(path, model_bytes=path.stat().st_size)

    assert any(is_apart(tensor) for tensor in read.graph.initializer)
    assert fold_affine(read) == 0
