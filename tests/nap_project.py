"""A project whose model sleeps 10 ms: more instances do more, and no core is busy."""

SLEEPS = """
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.01)
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", request.inputs()[0].as_numpy())]
            )
            for request in requests
        ]
"""
CONFIG = """
backend: "python"
max_batch_size: 1
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
PROJECT = """\
name: naps
models:
  nap:
    source: nap.py  # it sleeps
    inputs: {x: {dtype: fp32, shape: [1]}}
    outputs: {y: {dtype: fp32, shape: [1]}}
    batching: {max_batch_size: 1, dynamic: false}
    instances: [{kind: cpu, count: 1}]
"""


def write_naps(folder):
    """Write the project, and the repository that it was built into."""
    model = folder / "model_repository" / "nap"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_text(SLEEPS)
    (model / "config.pbtxt").write_text(CONFIG)
    (folder / "triton-kit.yaml").write_text(PROJECT)
    (folder / "nap.py").write_text(SLEEPS)
    return folder
