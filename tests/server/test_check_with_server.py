"""`validate --with-server`: the kit's verdict, and the embedded server's beside it."""

import json

import pytest

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
PYTHON = 'backend: "python"\n' + IO


def test_both_verdicts_and_the_servers_reason_are_printed(kit, write_model, tmp_path):
    files = {"1/model.py": MODEL}
    write_model(tmp_path, "good", files, config=PYTHON)
    write_model(tmp_path, "late", files, config=PYTHON + "max_batch_size: -1")
    write_model(tmp_path, "syntax", files, config=PYTHON + "max_batch_size: ${N}")
    write_model(tmp_path, "fatal", files, config=PYTHON + "model_repository_agents { }")
    write_model(tmp_path, "plan", {"1/model.plan": ""}, config='backend: "tensorrt"')
    broken = {"1/model.py": "raise RuntimeError('on purpose')"}
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
