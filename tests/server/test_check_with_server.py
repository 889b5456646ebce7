"""`validate --with-server`: the kit's verdict, and the embedded server's beside it."""

import json

import pytest
from onnx import helper

from onnx_builders import onnx_bytes

pytestmark = pytest.mark.server

IO = """
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
MODEL = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", request.inputs()[0].as_numpy())]
            )
            for request in requests
        ]
"""
HANG = "        while True:\n            pass\n\n    def execute"
PYTHON = 'backend: "python"\n' + IO


def test_both_verdicts_and_the_servers_reason_are_printed(kit, write_model, tmp_path):
    files = {"1/model.py": MODEL}
    write_model(tmp_path, "good", files, config=PYTHON)
    write_model(tmp_path, "late", files, config=PYTHON + "max_batch_size: -1")
    write_model(tmp_path, "syntax", files, config=PYTHON + "max_batch_size: ${N}")
    write_model(tmp_path, "fatal", files, config=PYTHON + "model_repository_agents { }")
    write_model(tmp_path, "plan", {"1/model.plan": ""}, config='backend: "tensorrt"')
    broken = {"1/model.py": "class TritonPythonModel: raise ValueError('on purpose')"}
    write_model(tmp_path, "broken", broken, config=PYTHON)

    result = kit("validate", tmp_path, "--with-server", "--format", "json")

    assert result.exit_code == 1, result.output
    whole = json.loads(result.output)
    said = {o["model"]: (o["accepted"], o["reason"]) for o in whole["embedded_server"]}
    own = {m["name"]: m["accepted"] for m in whole["models"]}
    assert said["good"] == (True, "")
    assert said["late"] == (
        False,
        "'max_batch_size' must be non-negative value for late",
    )
    assert said["syntax"][0] is False
    assert "Expected integer, got: $" in said["syntax"][1]
    assert said["fatal"][0] is None
    assert said["plan"][0] is None
    assert "on purpose" in said["broken"][1]
    assert own == {
        **dict.fromkeys(["good", "plan", "broken"], True),
        **dict.fromkeys(["late", "syntax", "fatal"], False),
    }


def test_text_names_both_verdicts(kit, write_model, tmp_path):
    write_model(tmp_path, "good", {"1/model.py": MODEL}, config=PYTHON)

    result = kit("validate", tmp_path, "--with-server")

    assert result.exit_code == 0, result.output
    assert "good: accepted (by the kit: accepted)" in result.output


def test_a_model_that_blocks_the_server_costs_no_other_verdict(
    kit, write_model, tmp_path
):
    write_model(tmp_path, "a", {"1/model.py": MODEL}, config=PYTHON)
    write_model(tmp_path, "b_no_file", {"1/x": ""}, config=PYTHON)
    slow = MODEL.replace("    def execute", "    def initialize(self, args):\n" + HANG)
    write_model(tmp_path, "c_hangs", {"1/model.py": slow}, config=PYTHON)
    write_model(tmp_path, "d", {"1/model.py": MODEL}, config=PYTHON)

    result = kit("validate", tmp_path, "--with-server", "--json", "--timeout", 8)

    assert result.exit_code == 1, result.output
    whole = json.loads(result.stdout)
    said = {o["model"]: (o["accepted"], o["reason"]) for o in whole["embedded_server"]}
    assert said["a"] == said["d"] == (True, "")
    assert said["b_no_file"][0] is None
    assert "waits for it without end" in said["b_no_file"][1]
    assert said["c_hangs"] == (False, "the model did not load within 8 s")


@pytest.fixture
def backend_in_python(monkeypatch):
    """Hide every C compiler: the native onnxruntime backend cannot be made."""
    monkeypatch.setattr("triton_kit.serving.onnxruntime_backend._COMPILERS", ())


def test_what_the_backend_in_python_lacks_is_not_judged(
    kit, write_model, tmp_path, backend_in_python
):
    config = """
backend: "onnxruntime" max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]
"""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = onnx_bytes({"x": ["a"]}, {"y": ["b"]}, nodes=nodes)
    write_model(tmp_path, "ragged", {"1/model.onnx": model}, config=config)

    result = kit("validate", tmp_path, "--with-server")

    assert result.exit_code == 0, result.output
    assert "ragged: not judged (by the kit: accepted)" in result.output
    assert "lacks ragged batches" in result.output
