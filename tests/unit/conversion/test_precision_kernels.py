"""Nodes that a provider has no kernel for in a lower precision stay float32."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from triton_kit.conversion.onnx.onnx_file import name_nodes
from triton_kit.conversion.precision import candidate, kernels
from triton_kit.conversion.precision.kernels import (
    Known,
    installed_kernels,
    known_kernels,
    without_kernel,
)
from triton_kit.conversion.precision.lower import lower_floats

CPU = "CPUExecutionProvider"
NOT_OPENED = (errors.Fail, errors.InvalidGraph, errors.NotImplemented)
FLOAT = TensorProto.FLOAT
# Operator -> attributes; each takes x, float32 (1, 4, 8, 8), and what is in CONSTANTS.
NODES = {
    "Add": {},
    "Concat": {"axis": 0},
    "Conv": {},
    "Gelu": {},
    "GlobalAveragePool": {},
    "Identity": {},
    "LayerNormalization": {},
    "MatMul": {},
    "MaxPool": {"kernel_shape": [2, 2]},
    "Relu": {},
    "Reshape": {},
    "Sigmoid": {},
    "Sign": {},
    "Softmax": {},
    "Transpose": {},
}
CONSTANTS = {
    "Add": np.ones((1, 4, 8, 8), np.float32),
    "Concat": np.ones((1, 4, 8, 8), np.float32),
    "Conv": np.ones((4, 4, 1, 1), np.float32),
    "LayerNormalization": np.ones(8, np.float32),
    "MatMul": np.ones((8, 8), np.float32),
    "Reshape": np.array([1, -1], np.int64),
}


def one_node(operator):
    """Return a model of one node at the opset of bfloat16."""
    constant = CONSTANTS.get(operator)
    inputs = ["x"] if constant is None else ["x", "c"]
    node = helper.make_node(operator, inputs, ["y"], **NODES[operator])
    weights = [] if constant is None else [onnx.numpy_helper.from_array(constant, "c")]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        weights,
    )
    opset = [helper.make_opsetid("", candidate.BF16_OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    name_nodes(model)
    return onnx.shape_inference.infer_shapes(model)


def opens(model, provider):
    """Whether ONNX Runtime itself opens a model, as it is."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=[provider])
    except NOT_OPENED:
        return False
    return True


@pytest.mark.parametrize("operator", NODES)
def test_the_table_says_what_the_runtime_opens(operator):
    model = one_node(operator)
    known = known_kernels(CPU, ort.__version__)

    missing = without_kernel(model, known)

    lowered = lower_floats(model, to="bf16", keep={}).model
    assert bool(missing) is not opens(lowered, CPU)
    for reason in missing.values():
        assert f"has no bf16 kernel of {operator}" in reason


def test_the_table_is_that_of_the_installed_runtime():
    installed = installed_kernels(CPU, 60)
    known = known_kernels(CPU, ort.__version__)

    assert installed.version == ort.__version__
    if known.version == installed.version:
        assert known == installed


def test_the_next_older_version_stands_in_for_one_that_is_not_known():
    (version, *_) = sorted(kernels._table()[CPU])

    assert known_kernels(CPU, "99.0.0").version
    assert known_kernels(CPU, "1.0.0").version == version
    assert known_kernels("NoProvider", "1.0.0") == Known("NoProvider")


def test_nothing_is_kept_where_no_kernels_are_known():
    assert without_kernel(one_node("MaxPool"), Known(CPU)) == {}


def test_a_node_without_float32_values_is_not_kept():
    known = Known(CPU, "1.0", frozenset({"Relu"}))
    model = one_node("MaxPool")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.INT8

    assert without_kernel(model, known) == {}


def test_a_runtime_that_does_not_tell_its_kernels_ends_no_conversion():
    assert installed_kernels("NoSuchProvider", 0.001) is None
