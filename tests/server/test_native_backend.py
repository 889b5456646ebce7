"""What the onnxruntime backend in C does beyond the one in Python."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpc_library
from onnx_models import accumulate, affine, large, lookup, ragged, with_default
from tritonclient.utils import InferenceServerException

from triton_kit.errors import ServerError
from triton_kit.files import cache_folder
from triton_kit.serving.embedded import running
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server

STATE = """max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 2 ] }
sequence_batching {
  max_sequence_idle_microseconds: 60000000
  state {
    input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 2 ]
    initial_state { name: "zero" data_type: TYPE_FP32 dims: [ 2 ] zero_data: true }
  }
  STRATEGY
}
"""
JOIN = "dynamic_batching { max_queue_delay_microseconds: 200000 }\n"
RAGGED = """max_batch_size: 16
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true }
batch_input {
  kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO
  target_name: "ends" data_type: TYPE_INT32 source_input: "x"
}
output { name: "total" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "twice" data_type: TYPE_FP32 dims: [ -1 ] }
batch_output {
  kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "twice" source_input: "x"
}
"""
WARM = """max_batch_size: 4
model_warmup {
  name: "zeros" batch_size: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } }
}
"""
FOUR = """instance_group { count: 4 kind: KIND_CPU }
parameters { key: "intra_op_thread_count" value { string_value: "3" } }
"""
SETTLED_S = 0.05  # a sleep is never shorter: no busy machine fails this
OPTIONAL = """input { name: "x" data_type: TYPE_FP32 dims: [ -1, 1 ] }
input { name: "bias" data_type: TYPE_FP32 dims: [ -1 ] optional: true }
output { name: "y" data_type: TYPE_FP32 dims: [ -1, 1 ] }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, write_onnx, write_model):
    """A server whose models each use something that only the backend in C has."""
    try:
        choose_onnxruntime_backend("native", cache=cache_folder())
    except ServerError as error:
        pytest.skip(error.message)
    repository = tmp_path_factory.mktemp("native")
    for name, strategy in (("direct", "direct {}"), ("oldest", "oldest {}")):
        config = STATE.replace("STRATEGY", strategy)
        write_onnx(repository, name, accumulate(), config=config)
    write_onnx(repository, "ragged", ragged(), config=RAGGED + JOIN)
    write_onnx(repository, "lookup", lookup(), config="max_batch_size: 8\n" + JOIN)
    cached = "max_batch_size: 4\nresponse_cache { enable: true }\n"
    write_onnx(repository, "cached", affine(), config=cached)
    write_onnx(repository, "warm", affine(), config=WARM)
    write_onnx(repository, "optional", with_default(), config=OPTIONAL)
    write_onnx(repository, "large", large())
    config = 'backend: "onnxruntime"\n' + FOUR
    write_model(repository, "threads", {"1/model.onnx": affine()}, config=config)
    spec = ServeSpec(
        repository=repository,
        onnxruntime_backend="native",
        model_control="explicit",
        models=("*",),
        flags=("--cache-config=local,size=1048576",),
    )
    with running(spec) as started:
        yield started


@pytest.fixture(scope="module")
def infer(server):
    """Send arrays by name over gRPC, with any options; return outputs by name."""
    with grpc_library.InferenceServerClient(server.grpc_url) as client:

        def send(model, arrays, **options):
            tensors = []
            for name, array in arrays.items():
                kind = {"f": "FP32", "i": "INT64"}[array.dtype.kind]
                tensor = grpc_library.InferInput(name, list(array.shape), kind)
                tensors.append(tensor.set_data_from_numpy(array))
            result = client.infer(model, tensors, **options)
            names = [output.name for output in result.get_response().outputs]
            return {name: result.as_numpy(name) for name in names}

        yield send


def statistics(server, model):
    (found,) = server.control.statistics(model)
    return found


@pytest.mark.parametrize("model", ["direct", "oldest"])
def test_a_sequence_keeps_its_state_beside_others(infer, model):
    def sequence(number):
        answers = []
        for step in range(6):
            x = np.full((1, 2), number, np.float32)
            answer = infer(
                model,
                {"x": x},
                sequence_id=number,
                sequence_start=step == 0,
                sequence_end=step == 5,
            )
            answers.append(answer["y"][0, 0])
        return answers

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(sequence, range(1, 7)))

    assert found == [[n * step for step in range(1, 7)] for n in range(1, 7)]


def test_a_state_that_is_no_output_is_not_returned(infer):
    x = np.ones((1, 2), np.float32)
    # One that does not end holds up the end of the server for 30 s.
    only = {"sequence_start": True, "sequence_end": True}

    answer = infer("oldest", {"x": x}, sequence_id=99, **only)

    assert list(answer) == ["y"]


def test_ragged_requests_share_runs_and_get_their_own_rows(server, infer):
    rng = np.random.default_rng(5)
    requests = [
        rng.integers(-50, 50, (1, n)).astype(np.float32) for n in (3, 1, 7, 2, 5, 1)
    ]
    before = statistics(server, "ragged")["execution_count"]

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda x: infer("ragged", {"x": x}), requests))

    for x, answer in zip(requests, answers, strict=True):
        assert answer["total"].tolist() == [[x.sum()]]
        assert answer["twice"].tolist() == (2 * x).tolist()
    assert statistics(server, "ragged")["execution_count"] - before < len(requests)


def test_failed_requests_count_as_failures(server, infer):
    def counts():
        found = statistics(server, "lookup")["inference_stats"]
        return found["success"]["count"], found["fail"]["count"]

    successes, failures = counts()
    with pytest.raises(InferenceServerException):
        infer("lookup", {"x": np.array([[99]])})
    infer("lookup", {"x": np.array([[1]])})

    deadline_s = time.monotonic() + 10
    wanted = (successes + 1, failures + 1)
    while counts() != wanted and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert counts() == wanted


def test_a_cached_response_is_not_computed_again(server, infer):
    x = np.full((1, 4), 7, np.float32)

    first = infer("cached", {"x": x})
    second = infer("cached", {"x": x})

    assert first["y"].tolist() == second["y"].tolist() == [[15.0] * 4]
    assert statistics(server, "cached")["inference_stats"]["cache_hit"]["count"] == 1


def test_a_model_is_warm_before_it_is_ready(server, infer):
    answer = infer("warm", {"x": np.ones((1, 4), np.float32)})

    assert answer["y"].tolist() == [[3.0] * 4]


def test_an_input_with_a_value_of_its_own_may_be_left_out(infer):
    x = np.array([[1.0]], np.float32)
    bias = np.array([5.0], np.float32)

    assert infer("optional", {"x": x})["y"].tolist() == [[11.0]]
    assert infer("optional", {"x": x, "bias": bias})["y"].tolist() == [[6.0]]


def test_a_cancelled_request_ends_and_the_model_stays(server, infer):
    with grpc_library.InferenceServerClient(server.grpc_url) as client:
        tensor = grpc_library.InferInput("x", [1, 1], "INT64")
        tensor.set_data_from_numpy(np.array([[1]]))
        errors = []
        call = client.async_infer(
            "lookup", [tensor], callback=lambda result, error: errors.append(error)
        )
        call.cancel()
        deadline_s = time.monotonic() + 10
        while not errors and time.monotonic() < deadline_s:
            time.sleep(0.01)

    assert "CANCELLED" in str(errors[0])
    assert infer("lookup", {"x": np.array([[2]])})["y"].tolist() == [[200.0]]


def test_instances_share_one_session_and_its_threads(server, infer):
    process = psutil.Process(server.pid)
    server.control.unload("threads")
    before = process.num_threads()

    server.control.load("threads")

    # Four instances, two threads of one session's pool, and a few of the server's;
    # sessions of their own would have eight.
    assert process.num_threads() - before < 4 + 2 + 4
    y = infer("threads", {"x": np.ones((1, 4), np.float32)})["y"]
    assert y.tolist() == [[3.0] * 4]


def test_loading_and_unloading_leaves_nothing_behind(server):
    process = psutil.Process(server.pid)
    sizes = []
    for round_ in range(30):
        server.control.unload("large")
        server.control.load("large")
        if round_ >= 10:
            sizes.append(process.memory_info().rss)

    # Memory goes up and down between rounds. A leak of the 16 MB model would raise the
    # lowest points, ten rounds apart, by 160 MB.
    assert min(sizes[10:]) - min(sizes[:10]) < 80 * 2**20
    assert process.num_threads() < 200


@pytest.mark.parametrize("act", ["unload", "load"])
def test_a_ready_model_is_given_time_before_it_ends(server, act):
    # Without it, Triton 24.10 dies now and then: its instance may not wait yet.
    server.control.load("large")

    started_s = time.monotonic()
    getattr(server.control, act)("large")

    assert time.monotonic() - started_s >= SETTLED_S
    server.control.load("large")
