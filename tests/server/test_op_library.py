"""An op library serves; if its code crashes, the server says in which model."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc_library
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from triton_kit.build_project import build
from triton_kit.errors import ServerError
from triton_kit.project.load import load_project
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

SOURCE = Path(__file__).parent / "triple_op.c"
CONFIG = 'backend: "onnxruntime"\nmodel_operations {{ op_library_filename: "{}" }}\n'
FLOAT = TensorProto.FLOAT


@pytest.fixture
def library(tmp_path):
    """The library of an operator that crashes on negative numbers."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    library = tmp_path / "libtriple.so"
    argv = [compiler, "-std=gnu11", "-w", "-shared", "-fPIC", SOURCE, "-o", library]
    subprocess.run(argv, check=True)
    return library


@pytest.fixture
def model():
    """A model whose only operator is of that library."""
    graph = helper.make_graph(
        [helper.make_node("Triple", ["x"], ["y"], domain="tests")],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 4])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("tests", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.fixture
def repository(tmp_path, write_model, library, model):
    content = {"1/model.onnx": model.SerializeToString()}
    write_model(
        tmp_path / "repository", "custom", content, config=CONFIG.format(library)
    )
    return tmp_path / "repository"


def triple(client, values):
    x = np.array([values], np.float32)
    tensor = grpc_library.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(x)
    return client.infer("custom", [tensor]).as_numpy("y").tolist()


def test_a_crash_in_the_runtime_ends_the_server_and_names_the_model(repository):
    def crash(server):
        with grpc_library.InferenceServerClient(server.grpc_url) as client:
            assert triple(client, [1, 2, 3, 4]) == [[3, 6, 9, 12]]
            with pytest.raises(InferenceServerException):
                triple(client, [-1, 2, 3, 4])
        server.wait()

    spec = ServeSpec(repository=repository, onnxruntime_backend="native")
    with pytest.raises(ServerError, match="SIGSEGV") as caught, running(spec) as server:
        crash(server)

    assert "crashed while it ran model 'custom'" in caught.value.message
    assert "--onnxruntime-backend python" in caught.value.hint


PROJECT = """
name: custom
models:
  custom:
    source: source.onnx
    custom_ops: [libtriple.so]
    ranges: {x: [0, 1]}
"""


@pytest.mark.parametrize("backend", ["native", "python"])
def test_a_built_model_has_its_op_library_beside_it(tmp_path, library, model, backend):
    (tmp_path / "source.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "triton-kit.yaml").write_text(PROJECT)
    build(load_project(tmp_path), output=tmp_path / "repository")

    config = (tmp_path / "repository/custom/config.pbtxt").read_text()
    assert '"/models/custom/libtriple.so"' in config
    library.unlink()
    spec = ServeSpec(repository=tmp_path / "repository", onnxruntime_backend=backend)
    with (
        running(spec) as server,
        grpc_library.InferenceServerClient(server.grpc_url) as client,
    ):
        assert triple(client, [1, 2, 3, 4]) == [[3, 6, 9, 12]]


def test_an_op_library_that_is_not_there_is_named(repository):
    (repository.parent / "libtriple.so").unlink()
    spec = ServeSpec(repository=repository, onnxruntime_backend="native")

    with pytest.raises(ServerError) as caught, running(spec):
        pass

    assert "custom" in caught.value.message
    assert "libtriple.so" in caught.value.message
