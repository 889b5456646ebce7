"""ResNet-50 as an ONNX graph, drawn here: BatchNorm is in the weights, random are they.

No torch is needed, and speed does not depend on what the weights are.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
SIZE = 224
CLASSES = 1000
_SMALL = 0.2  # of a block's own layers beside its skip: keeps float16 in its range


class _Graph:
    def __init__(self, dtype):
        self.rng = np.random.default_rng(0)
        self.dtype = dtype
        self.nodes, self.weights = [], []

    def weight(self, name, shape, scale):
        values = (self.rng.standard_normal(shape) * scale).astype(self.dtype)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind, inputs, **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x, inside, outside, kernel, *, stride=1, scale=1.0):
        index = len(self.weights)
        spread = scale * np.sqrt(2 / (inside * kernel * kernel))
        shape = (outside, inside, kernel, kernel)
        weights = self.weight(f"w{index}", shape, spread)
        bias = self.weight(f"b{index}", (outside,), 0.01)
        pad = kernel // 2
        return self.node(
            "Conv",
            [x, weights, bias],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )

    def relu(self, x):
        return self.node("Relu", [x])

    def bottleneck(self, x, inside, width, stride):
        outside = width * EXPANSION
        y = self.relu(self.conv(x, inside, width, 1))
        y = self.relu(self.conv(y, width, width, 3, stride=stride))
        y = self.conv(y, width, outside, 1, scale=_SMALL)
        if stride > 1 or inside != outside:
            x = self.conv(x, inside, outside, 1, stride=stride)
        return self.relu(self.node("Add", [x, y]))


def resnet50(*, half, size=SIZE, blocks=BLOCKS):
    """Return x, shape (batch, 3, size, size), to y, shape (batch, 1000)."""
    graph = _Graph(np.float16 if half else np.float32)
    x = graph.relu(graph.conv("x", 3, 64, 7, stride=2))
    x = graph.node(
        "MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    inside = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for index in range(count):
            stride = 2 if stage and not index else 1
            x = graph.bottleneck(x, inside, width, stride)
            inside = width * EXPANSION
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    weights = graph.weight("fc", (inside, CLASSES), np.sqrt(1 / inside))
    graph.nodes.append(helper.make_node("MatMul", [x, weights], ["y"]))
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    model = helper.make_graph(
        graph.nodes,
        "resnet50",
        [helper.make_tensor_value_info("x", kind, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("y", kind, ["batch", CLASSES])],
        initializer=graph.weights,
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(model, opset_imports=opset, ir_version=8)
