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


def convolve() -> bytes:
    """Return y, float32 (batch, 4, 6, 6): a 3x3 convolution of x (batch, 3, 8, 8)."""
    weights = [((7 * index) % 11 - 5) / 5 for index in range(4 * 3 * 3 * 3)]
    constant = helper.make_tensor("w", FLOAT, [4, 3, 3, 3], weights)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    x, y = ("x", FLOAT, ("batch", 3, 8, 8)), ("y", FLOAT, ("batch", 4, 6, 6))
    return graph_bytes([node], [x], [y], [constant])


def identity(data_type: int, shape) -> bytes:
    """Return y = x, of any type and shape."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return graph_bytes([node], [("x", data_type, shape)], [("y", data_type, shape)])


def every_type(data_types, *, shape=("batch", 3)) -> bytes:
    """Return y_T = x_T for every data type T, given by its ONNX number."""
    nodes = [helper.make_node("Identity", [f"x_{t}"], [f"y_{t}"]) for t in data_types]
    inputs = [(f"x_{t}", t, shape) for t in data_types]
    outputs = [(f"y_{t}", t, shape) for t in data_types]
    return graph_bytes(nodes, inputs, outputs)


def mix() -> bytes:
    """Return product = a * float(b), shape (batch, n), and total, shape (batch, 1)."""
    nodes = [
        helper.make_node("Cast", ["b"], ["b_float"], to=FLOAT),
        helper.make_node("Mul", ["a", "b_float"], ["product"]),
        helper.make_node("ReduceSum", ["product", "axes"], ["total"], keepdims=1),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    return graph_bytes(
        nodes,
        [("a", FLOAT, ["batch", "n"]), ("b", TensorProto.INT64, ["batch", "n"])],
        [("product", FLOAT, ["batch", "n"]), ("total", FLOAT, ["batch", 1])],
        [axes],
    )


def lookup(*, rows=10) -> bytes:
    """Return y = 100 * x for int64 x, shape (batch, 1); fails for x >= rows."""
    table = helper.make_tensor("table", FLOAT, [rows], [100.0 * i for i in range(rows)])
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    tensors = [("x", TensorProto.INT64, ["batch", 1])], [("y", FLOAT, ["batch", 1])]
    return graph_bytes([node], *tensors, [table])


def unique() -> bytes:
    """Return the different values of x, shape (k,): the first axis is not the batch."""
    node = helper.make_node("Unique", ["x"], ["y"])
    return graph_bytes([node], [("x", FLOAT, ["batch", 2])], [("y", FLOAT, ["k"])])


def accumulate() -> bytes:
    """Return y = x + before, and after = y: a sum, kept as the state of a sequence."""
    shape = ["batch", 2]
    nodes = [
        helper.make_node("Add", ["x", "before"], ["y"]),
        helper.make_node("Identity", ["y"], ["after"]),
    ]
    return graph_bytes(
        nodes,
        [("x", FLOAT, shape), ("before", FLOAT, shape)],
        [("y", FLOAT, shape), ("after", FLOAT, shape)],
    )


def ragged() -> bytes:
    """Return total, the sum of each request, and twice = 2 * x, of requests joined.

    x has the elements of all requests, and `ends` where each one ends, from 0 on.
    """
    constants = [
        helper.make_tensor("two", FLOAT, [], [2.0]),
        helper.make_tensor("zero", FLOAT, [1], [0.0]),
        helper.make_tensor("axis", TensorProto.INT64, [], [0]),
        helper.make_tensor("last_axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        helper.make_tensor("second", TensorProto.INT64, [1], [1]),
        helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("end", TensorProto.INT64, [1], [2**31]),
    ]
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["twice"]),
        helper.make_node("CumSum", ["x", "axis"], ["sums"]),
        helper.make_node("Concat", ["zero", "sums"], ["sums_from_0"], axis=0),
        helper.make_node("Gather", ["sums_from_0", "ends"], ["at_ends"]),
        helper.make_node("Slice", ["at_ends", "first", "last"], ["starts_sum"]),
        helper.make_node("Slice", ["at_ends", "second", "end"], ["ends_sum"]),
        helper.make_node("Sub", ["ends_sum", "starts_sum"], ["differences"]),
        helper.make_node("Unsqueeze", ["differences", "last_axis"], ["total"]),
    ]
    return graph_bytes(
        nodes,
        [("x", FLOAT, ["n"]), ("ends", TensorProto.INT32, ["m"])],
        [("total", FLOAT, ["batch", 1]), ("twice", FLOAT, ["n"])],
        constants,
    )


def large(*, side=2048) -> bytes:
    """Return y = x @ w, with a w of side * side float32."""
    weights = helper.make_tensor(
        "w", FLOAT, [side, side], b"\0" * (4 * side * side), raw=True
    )
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape = ["batch", side]
    return graph_bytes([node], [("x", FLOAT, shape)], [("y", FLOAT, shape)], [weights])


def with_default() -> bytes:
    """Return y = x + bias; bias is an input that has a value of its own, 10."""
    bias = helper.make_tensor("bias", FLOAT, [1], [10.0])
    node = helper.make_node("Add", ["x", "bias"], ["y"])
    shape = ["batch", 1]
    return graph_bytes(
        [node],
        [("x", FLOAT, shape), ("bias", FLOAT, ["k"])],
        [("y", FLOAT, shape)],
        [bias],
    )
