"""`triton-kit test`: sample inputs and expected outputs of a project."""

import json

import pytest

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
    for url in ("127.0.0.1:9", "http://127.0.0.1:9"):
        result = kit("test", project(), "--url", url)

        assert result.exit_code == 6
        assert "cannot connect to" in result.output


MALFORMED = """\
  misspelt: {model: double, inputs: {z: [1, 2]}, outputs: {y: [2, 4]}}
  ragged: {model: double, inputs: {x: [1, [2]], word: [a]}, outputs: {y: [2, 4]}}
  nothing: {model: double, inputs: {x: [1, null], word: [a]}, outputs: {y: [2, 4]}}
  no_file: {model: double, inputs: absent.npz, outputs: {y: [2, 4]}}
  no_number: {model: double, inputs: {x: [a, b], word: [a]}, outputs: {y: [2, 4]}}
"""


def test_a_malformed_test_hides_no_other_and_has_its_line(kit, project):
    folder = project(MALFORMED)
    result = kit("test", folder, "--json")

    assert result.exit_code == 1, result.output
    reasons = {o["name"]: o["reason"] for o in json.loads(result.stdout)}
    assert [reasons[name] for name in ("right", "one_sample", "nearly")] == [""] * 3
    file = folder / "triton-kit.yaml"
    assert reasons["misspelt"].startswith(f"{file}:22: model 'double' has no input 'z'")
    assert reasons["ragged"] == f"{file}:23: 'x': its lists differ in length"
    assert reasons["nothing"].endswith(":24: 'x': None is no FP32")
    assert reasons["no_file"].startswith(f"{file}:25: ")
    assert reasons["no_number"].startswith(f"{file}:26: 'x': not FP32")


SEVERAL_KINDS = """\
name: p
models:
  half:
    source: half.py
    inputs: {x: {dtype: bf16, shape: [3]}, n: {dtype: int8, shape: [1]}}
    outputs: {y: {dtype: bf16, shape: [3]}, m: {dtype: int8, shape: [1]}}
    batching: {max_batch_size: 8}
  counts:
    source: counts.py
    inputs: {x: {dtype: int32, shape: [1]}}
    outputs: {y: {dtype: int32, shape: [1]}}
    batching: {max_batch_size: 8}
    sequence: {controls: {start: {input: START, dtype: int32}}}
  slow:
    source: slow.py
    inputs: {x: {dtype: fp32, shape: [1]}}
    outputs: {y: {dtype: fp32, shape: [1]}}
  repeats:
    source: repeats.py
    inputs: {x: {dtype: int32, shape: [1]}}
    outputs: {y: {dtype: int32, shape: [1]}}
    decoupled: true
tests:
  bf16:
    model: half
    inputs: {x: [0.1, 1, -2], n: [3]}
    outputs: {y: [0.1, 1, -2], m: [3]}
    tolerance: 0
  bf16_wrong:
    model: half
    inputs: {x: [0.1, 1, -2], n: [3]}
    outputs: {y: [0.1, 1, -3]}
  too_large: {model: half, inputs: {x: [0, 0, 0], n: [300]}, outputs: {m: [3]}}
  sequence: {model: counts, inputs: {x: [5]}, outputs: {y: [5]}}
  late: {model: slow, inputs: {x: [1]}, outputs: {y: [1]}}
  stream: {model: repeats, inputs: {x: [3]}, outputs: {y: [3, 3, 3]}}
"""
ECHO = """\
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        {wait}
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor.from_dlpack(to, tensor.to_dlpack())
                    for one, to in (("x", "y"), ("n", "m"))
                    if (tensor := pb_utils.get_input_tensor_by_name(request, one))
                ]
            )
            for request in requests
        ]
"""
REPEATS = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            sender = request.get_response_sender()
            for _ in range(x[0]):
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""


def test_every_kind_of_model_can_be_tested_over_both_protocols(kit, tmp_path):
    (tmp_path / "triton-kit.yaml").write_text(SEVERAL_KINDS)
    for name in ("half", "counts"):
        (tmp_path / f"{name}.py").write_text(ECHO.replace("{wait}", ""))
    (tmp_path / "slow.py").write_text(ECHO.replace("{wait}", "time.sleep(4)"))
    (tmp_path / "repeats.py").write_text(REPEATS)
    assert kit("build", tmp_path).exit_code == 0
    passed, others = {}, {}
    with running(ServeSpec(repository=tmp_path / "model_repository")) as server:
        for url in (server.grpc_url, server.http_url):
            result = kit("test", tmp_path, "-u", url, "--timeout", 2, "--json")
            assert result.exit_code == 1, result.output
            outcomes = json.loads(result.stdout)
            passed[url] = {o["name"] for o in outcomes if o["passed"]}
            others[url] = {o["name"]: o["reason"] for o in outcomes if o["reason"]}

    over_grpc, over_http = others.values()
    assert over_grpc.keys() == {"bf16_wrong", "too_large", "late"}
    assert over_http.keys() == {*over_grpc, "stream"}
    assert "y[0, 2] is -2.0, expected -3.0" in over_http["bf16_wrong"]
    assert "300 is no INT8" in over_http["too_large"]
    assert "did not respond within 2 s" in over_grpc["late"]
    assert "HTTP cannot carry" in over_http["stream"]


def test_files_are_read_before_a_server_starts(kit, tmp_path):
    (tmp_path / "triton-kit.yaml").write_text(
        "name: p\nmodels: {m: {source: m.py}}\n"
        "tests: {t: {model: m, inputs: a.npz, outputs: b.npz}}\n"
    )

    result = kit("test", tmp_path)  # it has no repository that a server could load

    assert result.exit_code == 1, result.output
    assert "triton-kit.yaml:3" in result.output
    assert "a.npz" in result.output


def test_no_outcome_has_the_value_of_a_variable(kit, project, monkeypatch):
    monkeypatch.setenv("KEY", "hunter2-'hunter2")
    more = """\
  as_text: {model: double, inputs: {x: [1, 2], word: ["${KEY}"]}, outputs: {echo: [b]}}
  expected: {model: double, inputs: {x: [1, 2], word: [a]}, outputs: {echo: ["${KEY}"]}}
  as_number: {model: double, inputs: {x: ["${KEY}", 2], word: [a]}, outputs: {y: [2]}}
  as_file: {model: double, inputs: "${KEY}.npz", outputs: {y: [2, 4]}}
"""
    result = kit("test", project(more), "--json")

    assert result.exit_code == 1, result.output
    reasons = {o["name"]: o["reason"] for o in json.loads(result.stdout)}
    for name in ("as_text", "expected", "as_number", "as_file"):
        assert "${KEY}" in reasons[name]
    assert "hunter2" not in result.output
