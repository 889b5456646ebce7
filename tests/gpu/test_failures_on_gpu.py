"""What goes wrong on a GPU is a sentence: one request or load fails, others serve."""

import numpy as np
import pytest
import tritonclient.grpc as client_library
from onnx_models import affine, large

from triton_kit.errors import ServerError
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

CONFIG = """backend: "onnxruntime"
max_batch_size: 4
instance_group { count: 1 kind: KIND_GPU }
"""
LIMIT = 'parameters { key: "gpu_mem_limit" value { string_value: "1048576" } }\n'


@pytest.fixture
def repository(tmp_path):
    """A small model, and one whose weights exceed its limit of memory."""
    for name, graph, more in (("small", affine(), ""), ("hungry", large(), LIMIT)):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(graph)
        (tmp_path / name / "config.pbtxt").write_text(CONFIG + more)
    return tmp_path


def serves(server):
    with client_library.InferenceServerClient(server.grpc_url) as client:
        x = client_library.InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(np.ones((1, 4), np.float32))
        return client.infer("small", [x]).as_numpy("y").tolist() == [[3.0] * 4]


def spec_of(repository):
    return ServeSpec(
        repository=repository,
        onnxruntime_backend="native",
        model_control="explicit",
        models=("small",),
    )


def test_a_model_that_exceeds_the_memory_does_not_load_and_others_serve(repository):
    with running(spec_of(repository)) as server:
        with pytest.raises(ServerError, match=r"(?i)memory|alloc"):
            server.control.load("hungry")

        assert serves(server)
