"""A running tritonserver, and repositories for it, shared by the tests in here."""

from contextlib import suppress
from pathlib import Path

import pytest
from onnx_models import affine
from real_core import real_core

from triton_kit.errors import ServerError
from triton_kit.files import cache_folder
from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend
from triton_kit.serving.spec import ServeSpec

PYTHON_IDENTITY = """
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
PYTHON_CONFIG = """
backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
# Every instance is a process that imports numpy and onnxruntime: one is enough.
ONE_INSTANCE = "instance_group { count: 1 kind: KIND_CPU }\n"


@pytest.fixture(scope="session")
def core(tmp_path_factory):
    """The real server's core as a judge of configs."""
    with real_core(tmp_path_factory.mktemp("core") / "run") as judge:
        yield judge


@pytest.fixture(scope="session")
def strict_core(tmp_path_factory):
    """The same judge, for servers that complete no config."""
    with real_core(tmp_path_factory.mktemp("strict") / "run", strict=True) as judge:
        yield judge


@pytest.fixture(scope="session")
def write_model():
    """Write a model: files by their path below it, and config.pbtxt if it is given."""

    def write(repository, name, files, *, config=None):
        for relative, content in files.items():
            path = repository / name / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(data)
        if config is not None:
            (repository / name).mkdir(parents=True, exist_ok=True)
            (repository / name / "config.pbtxt").write_text(config)
        return repository

    return write


@pytest.fixture(scope="session")
def write_onnx(write_model):
    """Write an ONNX model with one instance."""

    def write(repository, name, graph, *, config=""):
        text = 'backend: "onnxruntime"\n' + ONE_INSTANCE + config
        return write_model(repository, name, {"1/model.onnx": graph}, config=text)

    return write


@pytest.fixture(scope="session")
def write_identity(write_model):
    """Write a Python model that returns float32 x, shape (batch, n), as y."""

    def write(repository, name):
        files = {"1/model.py": PYTHON_IDENTITY}
        return write_model(repository, name, files, config=PYTHON_CONFIG)

    return write


@pytest.fixture(scope="session")
def small_repository(tmp_path_factory, write_onnx, write_identity):
    """`affine` (ONNX, y = 2x + 1, shape (batch, 4)) and `identity` (Python)."""
    repository = tmp_path_factory.mktemp("repository")
    write_onnx(repository, "affine", affine())
    return write_identity(repository, "identity")


@pytest.fixture(scope="session")
def server(small_repository):
    """The real server over `small_repository`, one for all tests that only ask."""
    with running(ServeSpec(repository=small_repository)) as started:
        yield started


@pytest.fixture(scope="session")
def loaded():
    """The real server over the models of the load tests; `broken` never loads."""
    models = Path(__file__).parent / "perf_models"
    good = tuple(sorted(m.name for m in models.iterdir() if m.name != "broken"))
    spec = ServeSpec(
        repository=models,
        model_control="explicit",
        models=good,
        # Only for clients that say that they can read it.
        flags=("--grpc-infer-response-compression-level=medium",),
        access=Access(client_shared_memory=True, open_control=True),
    )
    with running(spec) as started:
        with suppress(ServerError):
            started.control.load("broken")
        yield started


@pytest.fixture(scope="module", params=["native", "python"])
def backend(request):
    """Each of the two onnxruntime backends; skips one that cannot serve here."""
    try:
        choose_onnxruntime_backend(request.param, cache=cache_folder())
    except ServerError as error:
        pytest.skip(error.message)
    return request.param
