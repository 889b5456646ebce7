"""`Clip(x + 3, 0, 6) / 6` in its forms becomes a HardSigmoid, other clips stay."""

import numpy as np
import pytest
from convert_networks import Builder
from onnx import TensorProto as T
from test_onnx_affine import made, operators, run

from triton_kit.conversion.onnx.hard_sigmoid import fuse_hard_sigmoids


def scalar(b, value, shape=()):
    return b.constant(f"c{len(b.weights)}", np.full(shape, value, np.float32))


def clipped(b, x, *, low=0.0, high=6.0, shift=3.0):
    x = b.op("Add", scalar(b, shift), x)
    return b.op("Clip", x, scalar(b, low), scalar(b, high))


def divided_last(b, x):
    return b.op("Div", b.op("Mul", x, clipped(b, x)), scalar(b, 6, (1,)))


def divided_first(b, x):
    return b.op("Mul", x, b.op("Div", clipped(b, x), scalar(b, 6)))


def by_a_sixth(b, x):
    return b.op("Mul", b.op("Mul", clipped(b, x), x), scalar(b, 1 / 6))


@pytest.mark.parametrize("build", [divided_last, divided_first, by_a_sixth])
def test_a_hard_swish_becomes_two_nodes(build):
    model = made(build)
    before = run(model)

    assert fuse_hard_sigmoids(model) == 1

    assert operators(model) == ["HardSigmoid", "Mul"]
    assert [tensor.name for tensor in model.graph.initializer] == []
    np.testing.assert_allclose(run(model)[0], before[0], rtol=1e-5, atol=1e-6)


def test_bounds_may_be_attributes():
    def build(b, x):
        x = b.op("Clip", b.op("Add", x, scalar(b, 3)), min=0.0, max=6.0)
        return b.op("Div", x, scalar(b, 6))

    model = made(build, opset=10)
    before = run(model)

    assert fuse_hard_sigmoids(model) == 1
    np.testing.assert_allclose(run(model)[0], before[0], rtol=1e-5, atol=1e-6)


def other_low(b, x):
    return b.op("Div", clipped(b, x, low=-1.0), scalar(b, 6))


def other_divisor(b, x):
    return b.op("Div", clipped(b, x), scalar(b, 5))


def inverse(b, x):
    return b.op("Div", scalar(b, 6), clipped(b, x, low=0.0))


def by_channel(b, x):
    x = b.op("Add", x, scalar(b, 3, (4, 1, 1)))
    x = b.op("Clip", x, scalar(b, 0), scalar(b, 6))
    return b.op("Div", x, scalar(b, 6))


def read_twice(b, x):
    y = clipped(b, x)
    return b.op("Concat", b.op("Div", y, scalar(b, 6)), y, axis=1)


def no_bounds(b, x):
    x = b.op("Clip", b.op("Add", x, scalar(b, 3)))
    return b.op("Div", x, scalar(b, 6))


@pytest.mark.parametrize(
    "build", [other_low, other_divisor, inverse, by_channel, read_twice, no_bounds]
)
def test_other_clips_stay(build):
    model = made(build)
    before = operators(model)

    assert fuse_hard_sigmoids(model) == 0
    assert operators(model) == before


def test_an_output_of_the_graph_stays():
    b = Builder()
    y = clipped(b, "x")
    end = b.op("Div", y, scalar(b, 6))
    shape = ["n", 4]
    model = b.model(
        [("x", T.FLOAT, shape)], [(y, T.FLOAT, shape), (end, T.FLOAT, shape)]
    )

    assert fuse_hard_sigmoids(model) == 0
