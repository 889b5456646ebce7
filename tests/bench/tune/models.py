"""Models whose best settings are not the defaults, as repositories."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WORKS = """
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep({seconds})
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", request.inputs()[0].as_numpy())]
            )
            for request in requests
        ]
"""
TENSORS = """
input {{ name: "x" data_type: TYPE_FP32 dims: [ {width} ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ {width} ] }}
"""
PIPELINE = """
platform: "ensemble"
max_batch_size: 8
{tensors}
ensemble_scheduling {{
  step {{ model_name: "nap" model_version: -1
    input_map {{ key: "x" value: "x" }} output_map {{ key: "y" value: "middle" }} }}
  step {{ model_name: "mlp" model_version: -1
    input_map {{ key: "x" value: "middle" }} output_map {{ key: "y" value: "y" }} }}
}}
"""
WIDTH = 512


def write_nap(
    repository: Path, name: str = "nap", seconds: float = 0.01, instances: int = 1
) -> None:
    """A Python model that sleeps."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(WORKS.format(seconds=seconds))
    text = f'backend: "python"\nmax_batch_size: 8\n{TENSORS.format(width=WIDTH)}'
    instance = f"instance_group {{ count: {instances} kind: KIND_CPU }}\n"
    (folder.parent / "config.pbtxt").write_text(text + instance)


def write_mlp(repository: Path) -> None:
    """Four layers of 512, whose weights are read once for each batch; no batcher."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for layer in range(4):
        matrix = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / WIDTH**0.5
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"h{layer}"]))
        last = "y" if layer == 3 else f"r{layer}"
        nodes.append(helper.make_node("Relu", [f"h{layer}"], [last]))
    shape = ["batch", WIDTH]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    folder = repository / "mlp" / "1"
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    text = f'backend: "onnxruntime"\nmax_batch_size: 8\n{TENSORS.format(width=WIDTH)}'
    instance = "instance_group { count: 1 kind: KIND_CPU }\n"
    (folder.parent / "config.pbtxt").write_text(text + instance)


def write_pipeline(repository: Path) -> None:
    """The Python model, then the network."""
    write_nap(repository, seconds=0.005)
    write_mlp(repository)
    folder = repository / "pipeline"
    (folder / "1").mkdir(parents=True)
    tensors = TENSORS.format(width=WIDTH)
    (folder / "config.pbtxt").write_text(PIPELINE.format(tensors=tensors))
