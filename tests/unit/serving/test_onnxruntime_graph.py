"""The embedded onnxruntime backend's reading of a config, without a server."""

import sys
from pathlib import Path

import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import triton_kit.serving

BACKEND = Path(triton_kit.serving.__file__).parent / "backends" / "onnxruntime"


@pytest.fixture
def backend_graph(monkeypatch):
    """The backend's module, found as Triton's process finds it."""
    monkeypatch.syspath_prepend(str(BACKEND))
    import onnxruntime_graph

    yield onnxruntime_graph
    del sys.modules["onnxruntime_graph"]


@pytest.fixture
def artifact(tmp_path):
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])
        for name in "xy"
    )
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def parameters(**values):
    return {"parameters": {k: {"string_value": v} for k, v in values.items()}}


def options_of(graph):
    return graph.session.get_session_options()


def test_without_parameters_onnxruntime_chooses_the_threads(backend_graph, artifact):
    options = options_of(backend_graph.open_graph(artifact, {}))

    assert options.intra_op_num_threads == 0
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL


def test_parameters_reach_the_session(backend_graph, artifact):
    config = parameters(
        intra_op_thread_count="3",
        inter_op_thread_count="2",
        execution_mode="1",
        enable_mem_arena="false",
    )

    options = options_of(backend_graph.open_graph(artifact, config))

    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 2
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert not options.enable_cpu_mem_arena


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        ("-1", ort.GraphOptimizationLevel.ORT_ENABLE_BASIC),
        ("0", ort.GraphOptimizationLevel.ORT_ENABLE_ALL),
        ("1", ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED),
        ("2", ort.GraphOptimizationLevel.ORT_DISABLE_ALL),
    ],
)
def test_the_graph_level_is_read_as_the_cpp_backend_does(
    backend_graph, artifact, level, wanted
):
    config = {"optimization": {"graph": {"level": level}}}

    options = options_of(backend_graph.open_graph(artifact, config))

    assert options.graph_optimization_level == wanted


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="has CUDA"
)
def test_a_gpu_instance_without_cuda_runs_on_the_cpu_and_warns(backend_graph, artifact):
    graph = backend_graph.open_graph(artifact, {}, device=0)

    assert graph.session.get_providers() == ["CPUExecutionProvider"]
    assert "running on the CPU" in graph.warnings[0]
