"""`triton-kit new --from MODEL.onnx`, on ONNX files of many kinds: built and asked."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_models import (
    affine,
    convolve,
    graph_bytes,
    identity,
    lookup,
    mix,
)
from project_builds import ask
from recipe_tests import kit as run_kit
from recipe_tests import run_client
from test_shipped_networks import SETTINGS, unpacked
from tritonclient.http import InferenceServerClient

import triton_kit
from triton_kit.samples import read_npz
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
CASES = Path(__file__).parents[2] / "unit" / "cases" / "projects"


def scaled():
    """Return y = x * factor: the factor is a scalar, so there is no batch axis."""
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    inputs = [("x", FLOAT, [2, 3]), ("factor", FLOAT, [])]
    return graph_bytes([node], inputs, [("y", FLOAT, [2, 3])])


FILES = {
    "fixed": lambda: affine(shape=(2, 4)),
    "batched": affine,
    "varying": lambda: affine(shape=("batch", "length")),
    "convolution": convolve,
    "strings": lambda: identity(TensorProto.STRING, ("batch", 2)),
    "scalar": scaled,
    "several": mix,
    "embedding": lookup,
    "trees": lambda: (CASES / "strings_plan" / "fraud.onnx").read_bytes(),
    "magika": lambda: (
        (unpacked("magika==1.0.3") / SETTINGS).with_name("model.onnx").read_bytes()
    ),
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """One project per file, built."""
    root = tmp_path_factory.mktemp("projects")
    cache = str(tmp_path_factory.mktemp("cache"))
    for name, content in FILES.items():
        (root / f"{name}.onnx").write_bytes(content())
        run_kit(root, "new", "--from", f"{name}.onnx", name)
        run_kit(root, "build", name, TRITON_KIT_CACHE=cache)
    return root


@pytest.fixture(scope="module")
def server(projects):
    first, *more = [projects / name / "model_repository" for name in FILES]
    spec = ServeSpec(repository=first, more_repositories=tuple(more))
    with triton_kit.serve(spec) as server:
        yield server


@pytest.mark.parametrize("name", FILES)
def test_a_project_around_a_model_responds_as_onnx_runtime(server, projects, name):
    run_kit(projects, "validate", f"{name}/model_repository")
    source = onnxruntime.InferenceSession(str(projects / f"{name}.onnx"))
    sample = read_npz(projects / name / "samples" / "sample.npz")
    with InferenceServerClient(server.http_url.removeprefix("http://")) as client:
        sizes = {
            tensor["name"]: len(tensor["shape"])
            for tensor in client.get_model_metadata(name)["inputs"]
        }
        given = {
            tensor: values[0] if values.ndim > sizes[tensor] else values
            for tensor, values in sample.items()
        }
        found = ask(client, name, given)

    feeds = {
        tensor.name: np.reshape(
            given[tensor.name].astype("U").astype(object)
            if given[tensor.name].dtype.kind == "S"
            else given[tensor.name],
            given[tensor.name].shape[: len(tensor.shape)],
        )
        for tensor in source.get_inputs()
    }
    for output, expected in zip(
        source.get_outputs(), source.run(None, feeds), strict=True
    ):
        values = found.as_numpy(output.name)
        if values.dtype == object:
            values = np.vectorize(bytes.decode)(values)
            assert values.ravel().tolist() == np.ravel(expected).tolist()
        else:
            np.testing.assert_allclose(values.ravel(), np.ravel(expected), rtol=1e-5)
    assert run_client(projects / name, server, ["python", "client.py"])


def test_a_file_that_is_no_model_leaves_no_folder(kit, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no model")

    result = kit("new", "--from", tmp_path / "net.onnx", tmp_path / "new")

    assert result.exit_code == 3
    assert "not an ONNX model" in result.stderr
    assert not (tmp_path / "new").exists()
