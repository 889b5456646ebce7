"""A project that uses every short form loads on the real server as it was meant."""

import json
import urllib.request

import pytest

from triton_kit.build_project import build
from triton_kit.project.load import load_project
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        y = pb_utils.Tensor("y", np.zeros((1, 1), np.float32))
        return [pb_utils.InferenceResponse([y]) for _ in requests]
"""

PROJECT = """
name: forms
models:
  classifier:
    source: digits.onnx
    inputs: {image: {min: [1, 1, 8, 8], opt: [4, 1, 8, 8], max: [8, 1, 8, 8]}}
    batching:
      max_batch_size: 8
      preferred: [4, 8]
      max_queue_delay_us: 100
      priority_levels: 2
      default_priority: 1
      queue: {timeout_us: 1000000, timeout_action: delay, max_size: 64}
      queue_by_priority: {2: {timeout_us: 5, allow_timeout_override: true}}
    instances: [{kind: cpu, count: 2, rate_limit: {priority: 2}}]
    versions: {latest: 2}
    optimization:
      graph_level: 1
      priority: max
      input_pinned_memory: false
      eager_batching: true
    warmup:
      - {name: zeros, batch_size: 8}
      - {name: real, batch_size: 2, count: 2, data: data/test.npz}
      - {name: sizes, batch_sizes: preferred}
    response_cache: true
    parameters: {intra_op_thread_count: 1}
  counter:
    source: counter.py
    inputs: {x: {dtype: fp32, shape: [1]}}
    outputs: {y: {dtype: fp32, shape: [1]}}
    batching: {max_batch_size: 4}
    instances: [{kind: cpu}]
    versions: all
    sequence:
      strategy: oldest
      max_candidates: 4
      max_idle_us: 5000000
      preferred: [2]
      controls:
        start: {input: START, dtype: fp32}
        end: {input: END, dtype: bool}
        corrid: {input: ID, dtype: uint64}
      states:
        - {input: s, output: s_out, dtype: int32, dims: [1], initial: zeros}
  stream:
    source: counter.py
    inputs: {x: {dtype: fp32, shape: [1]}}
    outputs: {y: {dtype: fp32, shape: [1]}}
    instances: [{kind: cpu}]
    decoupled: true
    versions: {specific: [1]}
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory, digits_recipe):
    """What the server says each model's configuration is, by model."""
    folder = tmp_path_factory.mktemp("forms")
    (folder / "triton-kit.yaml").write_text(PROJECT)
    (folder / "counter.py").write_text(MODEL)
    (folder / "data").mkdir()
    for name in ("digits.onnx", "data/test.npz"):
        (folder / name).write_bytes((digits_recipe / name).read_bytes())
    repository = build(load_project(folder)).repository
    found = {}
    with running(ServeSpec(repository=repository)) as server:
        for name in server.models:
            url = f"{server.http_url}/v2/models/{name}/config"
            with urllib.request.urlopen(url, timeout=10) as reply:
                found[name] = json.load(reply)
    return found


def test_batching_arrives(configs):
    batching = configs["classifier"]["dynamic_batching"]

    assert configs["classifier"]["max_batch_size"] == 8
    assert batching["preferred_batch_size"] == [4, 8]
    assert batching["default_priority_level"] == 1
    assert batching["default_queue_policy"]["timeout_action"] == "DELAY"
    assert batching["priority_queue_policy"]["2"]["allow_timeout_override"] is True


def test_instances_versions_cache_and_parameters_arrive(configs):
    config = configs["classifier"]

    assert config["instance_group"][0]["count"] == 2
    assert config["instance_group"][0]["rate_limiter"]["priority"] == 2
    assert config["version_policy"] == {"latest": {"num_versions": 2}}
    assert config["response_cache"] == {"enable": True}
    assert config["parameters"]["intra_op_thread_count"] == {"string_value": "1"}


def test_optimization_and_warmup_arrive(configs):
    config = configs["classifier"]

    assert config["optimization"]["graph"]["level"] == 1
    assert config["optimization"]["priority"] == "PRIORITY_MAX"
    assert config["optimization"]["input_pinned_memory"] == {"enable": False}
    assert [w["name"] for w in config["model_warmup"]] == [
        *("zeros", "real", "sizes_1", "sizes_4", "sizes_8")
    ]


def test_sequences_and_their_state_arrive(configs):
    sequence = configs["counter"]["sequence_batching"]

    assert sequence["oldest"]["max_candidate_sequences"] == 4
    kinds = [c["control"][0]["kind"] for c in sequence["control_input"]]
    assert kinds == [
        "CONTROL_SEQUENCE_START",
        "CONTROL_SEQUENCE_END",
        "CONTROL_SEQUENCE_CORRID",
    ]
    assert sequence["state"][0]["initial_state"][0]["zero_data"] is True
    assert configs["counter"]["version_policy"] == {"all": {}}


def test_decoupled_and_specific_versions_arrive(configs):
    assert configs["stream"]["model_transaction_policy"] == {"decoupled": True}
    assert configs["stream"]["version_policy"] == {"specific": {"versions": [1]}}
