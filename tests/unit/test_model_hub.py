"""Sources of hubs, from local stores: nothing here has a network."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from triton_kit.errors import SpecError
from triton_kit.model_hub import model_of_hub

REVISION = "0" * 40
# Each source, and its file or its error. The packages read their variables at import.
ASK = """
import json, sys
from triton_kit.errors import TritonKitError
from triton_kit.model_hub import model_of_hub
found = {}
for source in sys.argv[1:]:
    try:
        found[source] = str(model_of_hub(source))
    except TritonKitError as error:
        found[source] = f"{type(error).__name__}: {error.message}"
print(json.dumps(found))
"""
LOG = """
import mlflow, mlflow.onnx, onnx, sys
mlflow.onnx.log_model(
    onnx.load(sys.argv[1]), name="model", registered_model_name="digits"
)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small ONNX file."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3])
        for name in ("x", "y")
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3], np.ones(3, np.float32))
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weights])
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def hub(tmp_path, model):
    """Return what puts a model into a local cache of the Hugging Face Hub."""

    def put(name, *files):
        folder = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text(REVISION)
        for file in files:
            path = folder / "snapshots" / REVISION / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                model.read_bytes() if file.endswith(".onnx") else b"cos\nsystem\n."
            )

    return put


@pytest.fixture
def offline(tmp_path):
    """The variables of a machine without a network."""
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_TOKEN": "hf_a_token_that_is_never_shown",
        "MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlruns",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def ask(env, *sources):
    words = [sys.executable, "-c", ASK, *sources]
    return json.loads(subprocess.check_output(words, env=env, text=True, cwd="/"))


def test_a_model_of_the_local_hugging_face_cache_is_found(hub, offline):
    hub("acme/one", "model.onnx", "pytorch_model.bin", "config.json")
    hub("acme/two", "onnx/model.onnx", "onnx/model_quantized.onnx")
    hub("acme/none", "pytorch_model.bin", "model.pkl")
    found = ask(
        offline,
        "hf:acme/one",
        f"hf:acme/one@{REVISION}",
        "hf:acme/two:onnx/model.onnx",
        "hf:acme/two",
        "hf:acme/none",
        "hf:acme/none:model.pkl",
        "hf:acme/missing",
    )

    assert found["hf:acme/one"].endswith(f"{REVISION}/model.onnx")
    assert found[f"hf:acme/one@{REVISION}"] == found["hf:acme/one"]
    assert found["hf:acme/two:onnx/model.onnx"].endswith("onnx/model.onnx")
    assert "SpecError: hf:acme/two: has 2 ONNX files" in found["hf:acme/two"]
    assert "SpecError: hf:acme/none: has no ONNX file" in found["hf:acme/none"]
    assert "has no ONNX file model.pkl" in found["hf:acme/none:model.pkl"]
    assert "TransportError" in found["hf:acme/missing"]
    assert "never_shown" not in str(found)


def test_convert_takes_a_source_of_the_hub(hub, offline, tmp_path):
    hub("acme/one", "model.onnx")
    words = ["-m", "triton_kit", "convert", "hf:acme/one", "-o", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, *words], env=offline, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.onnx").is_file()


def test_a_project_names_a_source_of_the_hub(hub, offline, tmp_path):
    hub("acme/one", "model.onnx")
    project = tmp_path / "project"
    project.mkdir()
    (project / "triton-kit.yaml").write_text(
        "name: p\nmodels:\n  one: {source: 'hf:acme/one'}\n"
    )
    words = ["-m", "triton_kit", "build", project, "--no-cache"]
    done = subprocess.run(
        [sys.executable, *words], env=offline, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert (project / "model_repository/one/1/model.onnx").is_file()


@pytest.mark.parametrize(
    "source", ["hf:", "hf:one", "hf:../x/y", "mlflow:", "mlflow:file:///etc", "hf:a/b:"]
)
def test_what_is_no_source_of_a_hub_is_refused(source):
    with pytest.raises(SpecError, match="no source of a hub"):
        model_of_hub(source)


def test_a_missing_package_is_named():
    code = "import sys; sys.modules['huggingface_hub'] = None\n" + ASK
    found = subprocess.check_output([sys.executable, "-c", code, "hf:a/b"], text=True)

    assert "MissingExtraError: huggingface_hub" in found


def test_a_model_of_a_local_mlflow_registry_is_found(model, offline, tmp_path):
    if find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed here: pip install 'triton_kit[hub]'")
    words = [sys.executable, "-c", LOG, model]
    subprocess.run(words, env=offline, cwd=tmp_path, check=True, capture_output=True)
    sources = ("mlflow:models:/digits/1", "mlflow:models:/digits/9")
    found = ask(offline, *sources)

    assert onnx.load(found[sources[0]]) == onnx.load(model)
    assert "TransportError: mlflow:models:/digits/9: cannot be" in found[sources[1]]
