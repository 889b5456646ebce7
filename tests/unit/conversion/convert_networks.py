"""Small networks for the converter's tests, made with onnx.helper; no torch."""

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh


class Builder:
    """Collects nodes and weights; every call returns the name of its output."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, name, shape, scale=None):
        scale = scale or np.sqrt(2 / max(1, np.prod(shape[1:])))
        values = self.rng.standard_normal(shape) * scale
        self.weights.append(nh.from_array(values.astype(np.float32), name))
        return name

    def constant(self, name, values):
        self.weights.append(nh.from_array(np.asarray(values), name))
        return name

    def op(self, op_type, *inputs, to=None, **attributes):
        out = to or f"{op_type.lower()}_{len(self.nodes)}_out"
        name = f"{op_type.lower()}_{len(self.nodes)}"
        self.nodes.append(h.make_node(op_type, inputs, [out], name=name, **attributes))
        return out

    def model(self, inputs, outputs, opset=17):
        def value(name, dtype, shape):
            return h.make_tensor_value_info(name, dtype, shape)

        graph = h.make_graph(
            self.nodes,
            "g",
            [value(*i) for i in inputs],
            [value(*o) for o in outputs],
            self.weights,
        )
        return h.make_model(
            graph, opset_imports=[h.make_opsetid("", opset)], ir_version=8
        )


def detector():
    """float32 images (n, 3, 32, 32) -> (n, 7, 64): boxes of 640 pixels, then scores."""
    b = Builder(seed=3)
    x = "images"
    for index, (channels, out) in enumerate([(3, 8), (8, 16)]):
        weight = b.weight(f"w{index}", (out, channels, 3, 3))
        x = b.op("Relu", b.op("Conv", x, weight, pads=[1] * 4, strides=[2, 2]))
    boxes = b.op("Sigmoid", b.op("Conv", x, b.weight("wb", (4, 16, 1, 1))))
    boxes = b.op("Mul", boxes, b.constant("size", np.array(640, np.float32)))
    scores = b.op("Sigmoid", b.op("Conv", x, b.weight("ws", (3, 16, 1, 1))))
    boxes = b.op("Reshape", boxes, b.constant("4", np.array([0, 4, 64], np.int64)))
    scores = b.op("Reshape", scores, b.constant("3", np.array([0, 3, 64], np.int64)))
    b.op("Concat", boxes, scores, axis=1, to="output0")
    return b.model(
        [("images", T.FLOAT, ["n", 3, 32, 32])], [("output0", T.FLOAT, ["n", 7, 64])]
    )


def cnn(opset=17):
    """float32 image (batch, 3, 32, 32) -> scores (batch, 10), with one residual."""
    b = Builder()
    x = b.op("Conv", "image", b.weight("w1", (16, 3, 3, 3)), pads=[1, 1, 1, 1])
    x = skip = b.op("Relu", x)
    x = b.op(
        "Conv",
        x,
        b.weight("w2", (16, 16, 3, 3)),
        b.weight("b2", (16,), 0.1),
        pads=[1, 1, 1, 1],
    )
    x = b.op("Relu", b.op("Add", x, skip))
    x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Conv", x, b.weight("w3", (32, 16, 3, 3)), pads=[1, 1, 1, 1])
    x = b.op("GlobalAveragePool", b.op("Relu", x))
    x = b.op("Flatten", x)
    b.op(
        "Gemm",
        x,
        b.weight("w4", (10, 32)),
        b.weight("b4", (10,), 0.1),
        to="scores",
        transB=1,
    )
    return b.model(
        [("image", T.FLOAT, ["batch", 3, 32, 32])],
        [("scores", T.FLOAT, ["batch", 10])],
        opset,
    )


def transformer(layers=2, width=64, heads=4, opset=17):
    """int64 tokens (batch, seq) -> float32 scores (batch, seq, 50)."""
    b = Builder(1)
    x = b.op("Gather", b.weight("embedding", (50, width), 1.0), "tokens")
    b.constant("split_shape", np.array([0, 0, heads, width // heads], np.int64))
    b.constant("join_shape", np.array([0, 0, width], np.int64))
    b.constant("root", np.float32((width // heads) ** 0.5))
    for layer in range(layers):
        x = _block(b, x, f"l{layer}_", width)
    b.op("MatMul", x, b.weight("head", (width, 50), 0.15), to="scores")
    return b.model(
        [("tokens", T.INT64, ["batch", "seq"])],
        [("scores", T.FLOAT, ["batch", "seq", 50])],
        opset,
    )


def _linear(b, x, name, shape):
    x = b.op("MatMul", x, b.weight(f"{name}_w", shape, shape[0] ** -0.5))
    return b.op("Add", x, b.weight(f"{name}_b", shape[1:], 0.02))


def _norm(b, x, name, width):
    """LayerNormalization written out, as exporters of old opsets do."""
    mean = b.op("ReduceMean", x, axes=[-1], keepdims=1)
    centred = b.op("Sub", x, mean)
    two = b.constant(f"{name}_two", np.float32(2))
    square = b.op("Pow", centred, two)
    variance = b.op("ReduceMean", square, axes=[-1], keepdims=1)
    epsilon = b.constant(f"{name}_eps", np.float32(1e-5))
    deviation = b.op("Sqrt", b.op("Add", variance, epsilon))
    scaled = b.op("Div", centred, deviation)
    gain = b.constant(f"{name}_g", np.ones(width, np.float32))
    return b.op("Mul", scaled, gain)


def _block(b, x, name, width):
    y = _norm(b, x, f"{name}n1", width)
    parts = []
    for part, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        z = _linear(b, y, name + part, (width, width))
        parts.append(b.op("Transpose", b.op("Reshape", z, "split_shape"), perm=perm))
    q, k, v = parts
    scores = b.op("Div", b.op("MatMul", q, k), "root")
    mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), v)
    mixed = b.op("Reshape", b.op("Transpose", mixed, perm=[0, 2, 1, 3]), "join_shape")
    x = b.op("Add", x, _linear(b, mixed, f"{name}o", (width, width)))
    y = _norm(b, x, f"{name}n2", width)
    y = _linear(b, y, f"{name}f1", (width, 4 * width))
    root = b.constant(f"{name}root2", np.float32(2**0.5))
    half = b.constant(f"{name}half", np.float32(0.5))
    one = b.constant(f"{name}one", np.float32(1))
    erf = b.op("Add", b.op("Erf", b.op("Div", y, root)), one)
    y = b.op("Mul", b.op("Mul", y, erf), half)
    return b.op("Add", x, _linear(b, y, f"{name}f2", (4 * width, width)))


def saved(model, path):
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
