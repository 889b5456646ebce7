"""What `triton-kit build` writes is served with the right outputs."""

import numpy as np
import pytest
import tritonclient.grpc as triton
from onnx import helper

from onnx_builders import FLOAT, onnx_bytes
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

PROJECT = """\
name: p
models:
  first:
    source: first.onnx
    batching: {max_batch_size: 4}
    sequence: {strategy: direct, controls: {start: {input: START, dtype: fp32}}}
  sum:
    source: sum.onnx
    batching: {max_batch_size: 4}
    sequence:
      strategy: oldest
      max_candidates: 4
      states: [{input: s, output: t, dtype: fp32, dims: [1], initial: zeros}]
  shout:
    source: shout
    files: [words]
    inputs: {text: {dtype: string, shape: [1]}}
    outputs: {scores: {dtype: fp32, shape: [2], labels: labels.txt}}
    batching: {max_batch_size: 4}
"""
MODEL = """\
import numpy as np
import triton_python_backend_utils as pb_utils

from scoring import score


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("scores", score(text(request)))]
            )
            for request in requests
        ]


def text(request):
    return pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
"""
SCORING = """\
from pathlib import Path

import numpy as np

LOUD = (Path(__file__).parent / "words" / "loud.txt").read_text().split()


def score(texts):
    rows = [[1.0, 0.0] if t.decode() in LOUD else [0.0, 1.0] for t in texts.flat]
    return np.array(rows, np.float32)
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    from click.testing import CliRunner

    from triton_kit.cli import main

    folder = tmp_path_factory.mktemp("built")
    nodes = [
        helper.make_node("Mul", ["START", "x"], ["first"]),
        helper.make_node("Add", ["first", "x"], ["y"]),
    ]
    graph = onnx_bytes(
        {"x": ["b", 1], "START": (FLOAT, ["b", 1])}, {"y": ["b", 1]}, nodes=nodes
    )
    summing = [
        helper.make_node("Add", ["s", "x"], ["t"]),
        helper.make_node("Identity", ["t"], ["total"]),
    ]
    state = onnx_bytes(
        {"x": ["b", 1], "s": ["b", 1]},
        {"total": ["b", 1], "t": ["b", 1]},
        nodes=summing,
    )
    files = {
        "triton-kit.yaml": PROJECT,
        "sum.onnx": state,
        "first.onnx": graph,
        "shout/model.py": MODEL,
        "shout/scoring.py": SCORING,
        "words/loud.txt": "hey\noi\n",
        "labels.txt": "loud\nquiet\n",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    result = CliRunner().invoke(main, ["build", str(folder)])
    assert result.exit_code == 0, result.output
    spec = ServeSpec(repository=folder / "model_repository")
    with (
        running(spec) as server,
        triton.InferenceServerClient(server.grpc_url) as found,
    ):
        yield found


def test_the_server_fills_in_the_control_of_a_sequence(client):
    x = triton.InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.ones((1, 1), np.float32))

    def ask(**position):
        return client.infer("first", [x], sequence_id=5, **position).as_numpy("y")

    assert ask(sequence_start=True).tolist() == [[2.0]]
    assert ask(sequence_end=True).tolist() == [[1.0]]


def test_the_server_keeps_the_state_of_a_sequence(client):
    x = triton.InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.full((1, 1), 2, np.float32))

    def ask(**position):
        response = client.infer("sum", [x], sequence_id=9, **position)
        return response.as_numpy("total").tolist()

    totals = [ask(sequence_start=True), ask(), ask(sequence_end=True)]

    assert totals == [[[2.0]], [[4.0]], [[6.0]]]


def test_a_python_model_finds_its_helpers_and_files_and_labels(client):
    text = triton.InferInput("text", [2, 1], "BYTES")
    text.set_data_from_numpy(np.array([[b"hey"], [b"psst"]], dtype=object))
    classes = triton.InferRequestedOutput("scores", class_count=1)

    response = client.infer("shout", [text], outputs=[classes])

    assert [row[0] for row in response.as_numpy("scores")] == [
        b"1.000000:0:loud",
        b"1.000000:1:quiet",
    ]
