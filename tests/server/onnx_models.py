"""Small ONNX graphs, built here, for the tests that serve them."""

from __future__ import annotations

from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT


def graph_bytes(nodes, inputs, outputs, initializers=()) -> bytes:
    """Serialise a graph; inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        list(initializers),
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(
        graph, opset_imports=opset, ir_version=9
    ).SerializeToString()


def affine(*, shape=("batch", 4)) -> bytes:
    """Return y = 2 * x + 1, float32."""
    constants = [
        helper.make_tensor("two", FLOAT, [], [2.0]),
        helper.make_tensor("one", FLOAT, [], [1.0]),
    ]
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["twice"]),
        helper.make_node("Add", ["twice", "one"], ["y"]),
    ]
    tensors = [("x", FLOAT, shape)], [("y", FLOAT, shape)]
    return graph_bytes(nodes, *tensors, constants)


def identity(data_type: int, shape) -> bytes:
    """Return y = x, of any type and shape."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return graph_bytes([node], [("x", data_type, shape)], [("y", data_type, shape)])
