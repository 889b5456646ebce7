"""Four projects from source to figures: built, checked, served, measured, built again.

Files beside a Python model; labels; implicit and explicit state; strings in a table.
"""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from project_builds import ask, build_elsewhere, digests
from tritonclient.http import InferenceServerClient, InferRequestedOutput

import triton_kit
from onnx_builders import FLOAT, INT32, onnx_bytes
from triton_kit.loadtest.loops.sequences import Sequences

pytestmark = pytest.mark.server
FRAUD = Path(__file__).parents[1] / "unit/cases/projects/strings_plan/fraud.onnx"

TOKENS = """
name: tokens
models:
  tokens:
    source: code
    files: [data/stop-words.txt]
    inputs: {text: {dtype: string, shape: [1]}}
    outputs: {ids: {dtype: int64, shape: [-1]}}
tests:
  known: {model: tokens, inputs: {text: [a new day]}, outputs: {ids: [2, 3]}}
"""
TOKENS_MODEL = """
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb_utils
from words import Tokenizer

class TritonPythonModel:
    def initialize(self, args):
        here = Path(__file__).parent
        stop = (here / "stop-words.txt").read_text().split()
        self.tokenizer = Tokenizer(here / "vocabulary" / "vocab.txt", stop)

    def execute(self, requests):
        responses = []
        for request in requests:
            text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            ids = np.array(self.tokenizer.ids(text[0].decode()), dtype=np.int64)
            tensors = [pb_utils.Tensor("ids", ids)]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
"""
TOKENS_HELPER = """
class Tokenizer:
    def __init__(self, path, stop):
        self.known = {word: n for n, word in enumerate(path.read_text().split())}
        self.stop = set(stop)

    def ids(self, text):
        words = [word for word in text.split() if word not in self.stop]
        return [self.known.get(word, 0) for word in words]
"""
LABELS = """
name: labels
models:
  digits:
    source: digits.onnx
    inputs: {image: {min: [1, 1, 8, 8], opt: [2, 1, 8, 8], max: [8, 1, 8, 8]}}
    outputs: {scores: {labels: names.txt}}
    batching: {max_batch_size: 8}
"""
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
STATES = """
name: states
models:
  implicit:
    source: implicit.onnx
    batching: {max_batch_size: 4}
    instances: [{kind: cpu}]
    sequence:
      controls: {start: {input: START, dtype: int32}}
      states: [{input: s, output: t, dtype: fp32, dims: [1], initial: zeros}]
  explicit:
    source: explicit.onnx
    batching: {max_batch_size: 4}
"""
TABLE = """
name: table
models:
  fraud:
    source: fraud.onnx
    batching: {max_batch_size: 16}
"""


def sum_model(*, starts):
    """Return y = t = s + x; with a start flag that clears s."""
    nodes = [
        helper.make_node("Add", ["kept" if starts else "s", "x"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["y"]),
        helper.make_node("Identity", ["sum"], ["t"]),
    ]
    inputs = {"x": ["b", 1], "s": ["b", 1]}
    if starts:
        inputs["START"] = (INT32, ["b", 1])
        one = helper.make_tensor("v", FLOAT, [1], [1])
        nodes = [
            helper.make_node("Constant", [], ["one"], value=one),
            helper.make_node("Cast", ["START"], ["begins"], to=FLOAT),
            helper.make_node("Sub", ["one", "begins"], ["goes_on"]),
            helper.make_node("Mul", ["goes_on", "s"], ["kept"]),
            *nodes,
        ]
    return onnx_bytes(inputs, {"y": ["b", 1], "t": ["b", 1]}, nodes=nodes)


def write_project(name, folder, recipe):
    """Write one of the four projects."""
    files = {
        "tokens": {
            "triton-kit.yaml": TOKENS,
            "code/model.py": TOKENS_MODEL,
            "code/words.py": TOKENS_HELPER,
            "code/vocabulary/vocab.txt": "? old new day",
            "data/stop-words.txt": "a the",
        },
        "labels": {
            "triton-kit.yaml": LABELS,
            "names.txt": "\n".join(NAMES),
            "digits.onnx": (recipe / "digits.onnx").read_bytes(),
        },
        "states": {
            "triton-kit.yaml": STATES,
            "implicit.onnx": sum_model(starts=True),
            "explicit.onnx": sum_model(starts=False),
        },
        "table": {"triton-kit.yaml": TABLE, "fraud.onnx": FRAUD.read_bytes()},
    }
    for path, content in files[name].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (folder / path).write_bytes(data)
    return folder


def check_tokens(client):
    text = np.array(["a new day and the old"], dtype=object)

    assert ask(client, "tokens", {"text": text}).as_numpy("ids").tolist() == [
        2,
        3,
        0,
        1,
    ]


def check_labels(client, recipe):
    data = np.load(recipe / "data" / "test.npz")
    images, truth = (data[name] for name in ("image", "label"))
    best = [InferRequestedOutput("scores", class_count=1)]

    found = ask(client, "digits", {"image": images[:8]}, outputs=best)

    said = [row[0].decode().split(":")[2] for row in found.as_numpy("scores")]
    right = sum(s == NAMES[int(t)] for s, t in zip(said, truth[:8], strict=True))
    assert right >= 7


def check_states(client):
    def send(x, sequence, **flags):
        value = np.array([[x]], dtype=np.float32)
        found = ask(client, "implicit", {"x": value}, sequence_id=sequence, **flags)
        return float(found.as_numpy("y")[0, 0])

    first = [send(1, 7, sequence_start=True), send(5, 9, sequence_start=True)]
    second = [send(2, 7), send(6, 9)]
    again = send(4, 7, sequence_start=True)
    x, s = (np.array([[n]], dtype=np.float32) for n in (3, 39))
    kept = ask(client, "explicit", {"x": x, "s": s})

    assert (first, second, again) == ([1.0, 5.0], [3.0, 11.0], 4.0)
    assert float(kept.as_numpy("t")[0, 0]) == 42


def check_table(client):
    rows = {
        "amount": np.array([[12.0], [9000.0]], dtype=np.float32),
        "age_days": np.array([[2000], [1]], dtype=np.int64),
        "country": np.array([["DE"], ["??"]], dtype=object),
        "channel": np.array([["web"], ["app"]], dtype=object),
    }
    want = onnxruntime.InferenceSession(str(FRAUD)).run(None, rows)

    found = ask(client, "fraud", rows)

    assert found.as_numpy("label").ravel().tolist() == want[0].tolist()
    np.testing.assert_allclose(found.as_numpy("probabilities"), want[1], rtol=1e-5)


LOADS = {
    "tokens": [("tokens", {})],
    "labels": [("digits", {})],
    "states": [("implicit", {"sequences": Sequences(length=5)}), ("explicit", {})],
    "table": [("fraud", {})],
}


@pytest.mark.parametrize("name", LOADS)
def test_a_project_from_source_to_figures(name, tmp_path, digits_recipe):
    folder = write_project(name, tmp_path / "here", digits_recipe)
    built = triton_kit.build(folder)
    report = triton_kit.check(built.repository)
    first = digests(built.repository)

    with triton_kit.serve(built.repository) as server:
        client = InferenceServerClient(server.http_url.removeprefix("http://"))
        check = {
            "tokens": check_tokens,
            "labels": lambda c: check_labels(c, digits_recipe),
            "states": check_states,
            "table": check_table,
        }[name]
        check(client)
        client.close()
        runs = [
            triton_kit.perf(
                triton_kit.PerfSpec(
                    url=server.http_url,
                    model=model,
                    warm_up_s=0.1,
                    measurement_interval_s=1,
                    **more,
                )
            ).runs[0]
            for model, more in LOADS[name]
        ]

    assert report.findings == ()
    assert [run.recording.errors for run in runs] == [{} for _ in runs]
    assert all(run.figures.succeeded > 0 for run in runs)
    assert digests(build_elsewhere(folder, tmp_path / "other" / "place")) == first
