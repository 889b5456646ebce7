"""`triton-kit test`: sample inputs and expected outputs of a project."""

import json

import pytest

from triton_kit.project.load import load_project
from triton_kit.run_tests import run_tests
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

PROJECT = """\
name: p
models:
  double:
    source: double.py
    inputs: {x: {dtype: fp32, shape: [2]}, word: {dtype: string, shape: [1]}}
    outputs: {y: {dtype: fp32, shape: [2]}, echo: {dtype: string, shape: [1]}}
    batching: {max_batch_size: 8}
tests:
  right:
    model: double
    inputs: {x: [[1, 2], [3, 4]], word: [[a], [b]]}
    outputs: {y: [[2, 4], [6, 8]], echo: [[a], [b]]}
  one_sample:
    model: double
    inputs: {x: [1, 2], word: [a]}
    outputs: {y: [2, 4]}
  nearly:
    model: double
    inputs: {x: [1, 2], word: [a]}
    outputs: {y: [2.1, 4]}
    tolerance: 0.2
"""
WRONG = """\
  wrong_value:
    model: double
    inputs: {x: [1, 2], word: [a]}
    outputs: {y: [2, 5]}
  wrong_shape:
    model: double
    inputs: {x: [1, 2], word: [a]}
    outputs: {y: [[[2, 4]]]}
  wrong_word:
    model: double
    inputs: {x: [1, 2], word: [a]}
    outputs: {echo: [b]}
  refused:
    model: double
    inputs: {x: [1, 2]}
    outputs: {y: [2, 4]}
"""
MODEL = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor("y", get(request, "x") * 2),
                    pb_utils.Tensor("echo", get(request, "word")),
                ]
            )
            for request in requests
        ]


def get(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()
"""


@pytest.fixture
def project(kit, tmp_path):
    def write(more=""):
        (tmp_path / "double.py").write_text(MODEL)
        (tmp_path / "triton-kit.yaml").write_text(PROJECT + more)
        assert kit("build", tmp_path).exit_code == 0
        return tmp_path

    return write


def test_right_outputs_pass(kit, project):
    result = kit("test", project())

    assert result.exit_code == 0, result.output
    assert "right  passed" in result.output
    assert "3 of 3 tests passed" in result.output


def test_a_wrong_output_is_named_with_its_place(kit, project):
    folder = project(WRONG)
    with running(ServeSpec(repository=folder / "model_repository")) as server:
        result = kit("test", folder, "--url", server.grpc_url, "--json")

    assert result.exit_code == 1, result.output
    reasons = {o["name"]: o["reason"] for o in json.loads(result.stdout)}
    assert reasons["right"] == ""
    assert reasons["wrong_value"] == "y[0, 1] is 4.0, expected 5.0 (tolerance 0.001)"
    assert reasons["wrong_shape"] == " has shape [1, 2], expected [1, 1, 2]".join(
        ("y", "")
    )
    assert "echo[0, 0] is b'a', expected b'b'" in reasons["wrong_word"]
    assert "expected 2 inputs but got 1" in reasons["refused"]


def test_a_server_that_is_not_there_is_an_error(kit, project):
    result = kit("test", project(), "--url", "127.0.0.1:9")

    assert result.exit_code == 6
    assert "no server responds" in result.output


def test_a_tensor_that_the_model_lacks_has_its_line(project):
    folder = project(
        "  misspelt: {model: double, inputs: {z: [1, 2]}, outputs: {y: [2, 4]}}\n"
    )
    from triton_kit.errors import SpecError

    with pytest.raises(SpecError, match=r"triton-kit\.yaml:22: .*no input 'z'"):
        run_tests(load_project(folder))
