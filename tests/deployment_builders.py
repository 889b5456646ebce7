"""Repositories to deploy, and what their manifests are."""

import shutil
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
GPU_CONFIG = """
backend: "python"
max_batch_size: 8
input { name: "X" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] }
instance_group { count: 2 kind: KIND_GPU }
"""
MODEL = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse(output_tensors=[]) for _ in requests]
"""


def cpu_repository(folder):
    """Copy the example repository: an ONNX model, a Python one, an ensemble of both."""
    shutil.copytree(ROOT / "model_repository", folder)
    return folder


def gpu_repository(folder, name="on gpu", config=GPU_CONFIG):
    """Write a repository with one Python model on GPUs."""
    version = folder / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (folder / name / "config.pbtxt").write_text(config)
    return folder


def wait_for_plans(project):
    """Give a project a target whose plans a machine with a GPU builds."""
    path = project / "triton-kit.yaml"
    document = yaml.safe_load(path.read_text())
    document["targets"]["cluster"] = {
        **{"triton": "25.10", "format": "plan"},
        **{"compute_capability": "9.0"},
    }
    document["models"]["digits"]["instances"] = [{"kind": "auto"}]
    path.write_text(yaml.safe_dump(document))
    return project


def documents(text):
    """Return the YAML documents of a text."""
    return [document for document in yaml.safe_load_all(text) if document]


def container(deployment, name="triton"):
    """Return a container of a Deployment."""
    pod = deployment["spec"]["template"]["spec"]
    both = [*pod["containers"], *pod["initContainers"]]
    return next(c for c in both if c["name"] == name)
