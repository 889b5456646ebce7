"""ONNX models on the embedded server's GPU instances answer as they do on the CPU."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.grpc as client_library
from onnx import TensorProto
from onnx_models import accumulate, affine, convolve, identity, lookup, mix
from tritonclient.utils import InferenceServerException

from triton_kit.errors import ServerError
from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

ON_GPU = "instance_group { count: COUNT kind: KIND_GPU }\n"
JOIN = """max_batch_size: 16
dynamic_batching { preferred_batch_size: [ 16 ] max_queue_delay_microseconds: 100000 }
"""
STATE = """max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 2 ] }
sequence_batching {
  state {
    input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 2 ]
    initial_state { name: "zero" data_type: TYPE_FP32 dims: [ 2 ] zero_data: true }
  }
}
"""
TUNED = """parameters { key: "cudnn_conv_algo_search" value { string_value: "0" } }
parameters { key: "gpu_mem_limit" value { string_value: "1073741824" } }
parameters { key: "arena_extend_strategy" value { string_value: "1" } }
parameters { key: "do_copy_in_default_stream" value { string_value: "1" } }
"""
ACCELERATED = """optimization { execution_accelerators { gpu_execution_accelerator {
  name: "cuda" parameters { key: "cudnn_conv_use_max_workspace" value: "0" }
} } }
"""
SIZES = 'parameters {{ key: "cuda_batch_sizes" value {{ string_value: "{}" }} }}\n'
SMALL = 'parameters { key: "gpu_mem_limit" value { string_value: "8388608" } }\n'
GRAPHS = "optimization { cuda { graphs: true } }\n"
MODELS = {
    "affine": (affine(shape=("batch", "n")), "max_batch_size: 16\n", 1),
    "two": (affine(shape=("batch", "n")), JOIN, 2),
    "mix": (mix(), JOIN, 1),
    "convolve": (convolve(), JOIN, 1),
    "sized": (mix(), JOIN + SIZES.format("3,7"), 1),
    "unsized": (convolve(), JOIN + SIZES.format("off"), 1),
    "lookup": (lookup(), JOIN, 1),
    "strings": (identity(TensorProto.STRING, ["batch", "n"]), "", 1),
    "state": (accumulate(), STATE, 1),
    "tuned": (affine(), TUNED, 1),
    "accelerated": (affine(), ACCELERATED, 1),
    "replayed": (affine(shape=("batch", 5000)), JOIN + GRAPHS, 2),
    "replayed-convolve": (convolve(), JOIN + GRAPHS, 1),
    "replayed-fixed": (affine(shape=(1, 4)), GRAPHS, 1),
    "small": (affine(shape=("batch", "n")), "max_batch_size: 16\n" + SMALL, 1),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    repository = tmp_path_factory.mktemp("gpu")
    for name, (graph, config, count) in MODELS.items():
        folder = repository / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(graph)
        group = ON_GPU.replace("COUNT", str(count))
        text = 'backend: "onnxruntime"\n' + group + config
        (repository / name / "config.pbtxt").write_text(text)
    access = Access(client_shared_memory=True)
    spec = ServeSpec(repository=repository, onnxruntime_backend="native", access=access)
    with running(spec) as started:
        yield started


@pytest.fixture(scope="module")
def client(server):
    with client_library.InferenceServerClient(server.grpc_url) as connected:
        yield connected


def infer(client, model, arrays, **options):
    kinds = {"f": "FP32", "i": "INT64", "O": "BYTES"}
    tensors = [
        client_library.InferInput(name, list(array.shape), kinds[array.dtype.kind])
        for name, array in arrays.items()
    ]
    for tensor, array in zip(tensors, arrays.values(), strict=True):
        tensor.set_data_from_numpy(array)
    result = client.infer(model, tensors, **options)
    names = [output.name for output in result.get_response().outputs]
    return {name: result.as_numpy(name) for name in names}


def test_no_model_fell_back_to_the_cpu(server):
    assert "running on the CPU" not in server.log.read_text()


@pytest.mark.parametrize("elements", [1, 100, 5000, 300_000])
def test_inputs_of_any_size_come_back_computed(client, elements):
    x = np.arange(elements, dtype=np.float32).reshape(1, elements)

    assert (infer(client, "affine", {"x": x})["y"] == 2 * x + 1).all()


def test_requests_that_come_together_share_runs(server, client):
    rng = np.random.default_rng(3)
    requests = [rng.normal(size=(1, 4000)).astype(np.float32) for _ in range(32)]

    with ThreadPoolExecutor(32) as pool:
        answers = list(
            pool.map(lambda x: infer(client, "two", {"x": x})["y"], requests)
        )

    for x, y in zip(requests, answers, strict=True):
        np.testing.assert_allclose(y, 2 * x + 1, rtol=1e-6)
    (stats,) = server.control.statistics("two")
    assert stats["execution_count"] < len(requests)


def test_two_inputs_are_as_on_the_cpu(client):
    session = ort.InferenceSession(mix(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(4)
    for width in (1, 7, 3000):
        a = rng.normal(size=(2, width)).astype(np.float32)
        b = rng.integers(-9, 9, (2, width))

        answer = infer(client, "mix", {"a": a, "b": b})

        product, total = session.run(["product", "total"], {"a": a, "b": b})
        np.testing.assert_allclose(answer["product"], product, rtol=1e-6)
        np.testing.assert_allclose(answer["total"], total, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("model", ["convolve", "unsized", "replayed-convolve"])
def test_batches_padded_to_a_fixed_size_give_each_request_its_rows(client, model):
    session = ort.InferenceSession(convolve(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(8)
    inputs = [
        rng.normal(size=(rows, 3, 8, 8)).astype(np.float32)
        for rows in (1, 2, 3, 5, 9, 16, 1, 1, 4, 13, 7)
    ]

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda x: infer(client, model, {"x": x})["y"], inputs))

    for x, y in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(
            y, session.run(None, {"x": x})[0], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("rows", range(1, 17))
def test_sizes_can_be_given(client, rows):
    rng = np.random.default_rng(rows)
    a = rng.normal(size=(rows, 700)).astype(np.float32)
    b = rng.integers(-9, 9, (rows, 700))

    response = infer(client, "sized", {"a": a, "b": b})

    np.testing.assert_allclose(response["product"], a * b, rtol=1e-6)
    assert response["total"].shape == (rows, 1)


def test_strings_pass(client):
    x = np.array([[b"a", b"", b"nul\0inside"]], dtype=object)

    assert infer(client, "strings", {"x": x})["y"].tolist() == x.tolist()


def test_a_sequence_keeps_its_state_on_the_gpu(client):
    x = np.ones((1, 2), np.float32)
    answers = [
        infer(client, "state", {"x": x}, sequence_id=7, sequence_start=step == 0)["y"]
        for step in range(4)
    ]

    assert [answer[0, 0] for answer in answers] == [1, 2, 3, 4]


@pytest.mark.parametrize("model", ["tuned", "accelerated"])
def test_parameters_of_the_cuda_provider_are_taken(client, model):
    x = np.ones((1, 4), np.float32)

    assert infer(client, model, {"x": x})["y"].tolist() == [[3.0] * 4]


def test_a_request_beyond_the_memory_limit_fails_and_the_model_stays(client):
    big = np.ones((1, 4_000_000), np.float32)  # 16 MB

    with pytest.raises(InferenceServerException, match=r"(?i)alloc|memory"):
        infer(client, "small", {"x": big})

    x = np.ones((1, 10), np.float32)
    assert infer(client, "small", {"x": x})["y"].tolist() == [[3.0] * 10]


@pytest.mark.parametrize("model", ["two", "replayed"])
@pytest.mark.parametrize("requests", [1, 5])
def test_inputs_and_outputs_stay_on_the_device_in_cuda_shared_memory(
    client, requests, model
):
    cuda = pytest.importorskip("tritonclient.utils.cuda_shared_memory")
    rng = np.random.default_rng(6)
    shape = (2, 5000)
    size = 4 * shape[0] * shape[1]

    def send(number):
        x = rng.normal(size=shape).astype(np.float32)
        with ExitStack() as stack:
            names = [f"{kind}{number}" for kind in ("x", "y")]
            handles = [cuda.create_shared_memory_region(n, size, 0) for n in names]
            for name, handle in zip(names, handles, strict=True):
                stack.callback(cuda.destroy_shared_memory_region, handle)
                raw = cuda.get_raw_handle(handle)
                client.register_cuda_shared_memory(name, raw, 0, size)
                stack.callback(client.unregister_cuda_shared_memory, name)
            cuda.set_shared_memory_region(handles[0], [x])
            tensor = client_library.InferInput("x", list(shape), "FP32")
            tensor.set_shared_memory(names[0], size)
            wanted = client_library.InferRequestedOutput("y")
            wanted.set_shared_memory(names[1], size)
            client.infer(model, [tensor], outputs=[wanted])
            y = cuda.get_contents_as_numpy(handles[1], np.float32, shape)
            np.testing.assert_allclose(y, 2 * x + 1, rtol=1e-6)

    with ThreadPoolExecutor(requests) as pool:
        list(pool.map(send, range(requests)))


def test_runs_that_are_replayed_compute_what_each_request_brings(client):
    rng = np.random.default_rng(9)
    requests = [
        rng.normal(size=(rows, 5000)).astype(np.float32)
        for rows in [*range(1, 17), *range(16, 0, -1)]
    ]

    with ThreadPoolExecutor(8) as pool:
        outputs = pool.map(lambda x: infer(client, "replayed", {"x": x})["y"], requests)
        for x, y in zip(requests, outputs, strict=True):
            np.testing.assert_allclose(y, 2 * x + 1, rtol=1e-6)


def test_a_model_without_batches_is_replayed(client):
    for number in range(5):
        x = np.full((1, 4), number, np.float32)
        y = infer(client, "replayed-fixed", {"x": x})["y"]
        assert y.tolist() == [[2.0 * number + 1] * 4]


@pytest.mark.parametrize("model", ["affine", "convolve", "replayed"])
def test_an_empty_batch_does_not_end_the_server(client, model):
    shape = (0, 3, 8, 8) if model == "convolve" else (0, 5000)
    with suppress(InferenceServerException):
        infer(client, model, {"x": np.zeros(shape, np.float32)})

    assert client.is_model_ready(model)


def test_replays_of_a_graph_with_free_axes_are_refused(tmp_path):
    folder = tmp_path / "free" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(affine(shape=("batch", "n")))
    text = 'backend: "onnxruntime"\nmax_batch_size: 4\n' + GRAPHS
    group = ON_GPU.replace("COUNT", "1")
    (tmp_path / "free" / "config.pbtxt").write_text(text + group)
    spec = ServeSpec(repository=tmp_path, onnxruntime_backend="native")

    refusal = r"cuda\.graphs .* 'y' has shape \[-1, ?-1\]"
    with pytest.raises(ServerError, match=refusal), running(spec):
        pass


def test_failures_on_the_gpu_fail_alone(client):
    def send(number):
        try:
            return infer(
                client,
                "mix",
                {"a": np.ones((1, number), np.float32), "b": np.ones((1, 3), np.int64)},
            )
        except InferenceServerException as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, [3, 2, 3, 3]))

    assert [isinstance(a, Exception) for a in answers] == [False, True, False, False]
