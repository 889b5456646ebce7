"""The server under load: a small ONNX MLP on the embedded server."""

import http.client
import itertools
import json
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

MODEL = "mlp"
WIDTHS = (16, 64, 64, 4)
CONFIG = """\
backend: "onnxruntime"
max_batch_size: 64
input {{ name: "x" data_type: TYPE_FP32 dims: [ 16 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }}
dynamic_batching {{ {batcher} }}
instance_group {{ count: {instances} kind: KIND_CPU }}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
"""
# For many in flight: two instances work on halves of them at the same time.
WAITING = "preferred_batch_size: [ 24 ] max_queue_delay_microseconds: 1000"


def mlp():
    """Return the model: float32 x, shape (batch, 16), to y, shape (batch, 4)."""
    generator = np.random.default_rng(0)
    nodes, weights, at = [], [], "x"
    layers = list(itertools.pairwise(WIDTHS))
    for index, (wide, narrow) in enumerate(layers):
        matrix = generator.standard_normal((wide, narrow)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{index}"))
        is_last = index == len(layers) - 1
        product = "y" if is_last else f"p{index}"
        nodes.append(helper.make_node("MatMul", [at, f"w{index}"], [product]))
        if not is_last:
            at = f"a{index}"
            nodes.append(helper.make_node("Relu", [product], [at]))
    graph = helper.make_graph(
        nodes,
        MODEL,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", WIDTHS[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", WIDTHS[-1]])],
        initializer=weights,
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


@contextmanager
def served(folder, *, allocator, backend="python", instances=1, batcher=""):
    """Write the repository and serve it; yields the running server."""
    version = folder / MODEL / "1"
    version.mkdir(parents=True)
    onnx.save(mlp(), version / "model.onnx")
    config = CONFIG.format(instances=instances, batcher=batcher)
    (folder / MODEL / "config.pbtxt").write_text(config)
    spec = ServeSpec(
        repository=folder,
        allocator=allocator,
        onnxruntime_backend=backend,
        access=Access(client_shared_memory=True),
    )
    with running(spec) as server:
        yield server


class Counter:
    """Reads how many requests the server itself has answered."""

    def __init__(self, server):
        parts = urlsplit(server.http_url)
        self._connection = http.client.HTTPConnection(
            parts.hostname, parts.port, timeout=30
        )

    def read(self):
        """Return the number of successful requests since the server's start."""
        self._connection.request("GET", f"/v2/models/{MODEL}/stats")
        answer = json.loads(self._connection.getresponse().read())
        return answer["model_stats"][0]["inference_stats"]["success"]["count"]

    def close(self):
        self._connection.close()
