"""ONNX models on the embedded server answer as onnxruntime itself does."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.http as client_library
from onnx import TensorProto
from onnx_models import affine, every_type, identity, lookup, mix, unique
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from triton_kit.errors import ServerError
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec
from triton_kit.tensors import DATA_TYPES
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server

JOIN = """max_batch_size: 16
dynamic_batching { preferred_batch_size: [ 16 ] max_queue_delay_microseconds: 300000 }
"""
WITHOUT_BF16 = [t.onnx for t in DATA_TYPES if t.name != "BF16"]
WITHOUT_STRINGS = [t.onnx for t in DATA_TYPES if t.name != "BYTES"]
GRAPHS = {
    "affine": affine(shape=("batch", "n")),
    "types": every_type(WITHOUT_BF16),
    "types_bf16": every_type(WITHOUT_STRINGS),
    "strings": identity(TensorProto.STRING, ["batch", "n"]),
    "mix": mix(),
    "mix_joined": mix(),
    "lookup": lookup(),
    "fixed": affine(shape=(2, 3)),
    "scalar": affine(shape=()),
    "scalars": affine(shape=("batch",)),
    "unique": unique(),
    "no_batch": affine(shape=("rows", 4)),
    "tuned": affine(),
}
CONFIGS = {
    "mix_joined": JOIN,
    "lookup": JOIN,
    "no_batch": """input { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1, 4 ] }
""",
    "tuned": """optimization { graph { level: 2 } }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
parameters { key: "inter_op_thread_count" value { string_value: "2" } }
parameters { key: "execution_mode" value { string_value: "1" } }
""",
}


@pytest.fixture(scope="module")
def url(backend, tmp_path_factory, write_onnx, write_model):
    """The HTTP endpoint of a server with all of the graphs above, one instance each."""
    repository = tmp_path_factory.mktemp("graphs")
    for name, graph in GRAPHS.items():
        write_onnx(repository, name, graph, config=CONFIGS.get(name, ""))
    write_model(repository, "bare", {"1/model.onnx": affine()})
    renamed = 'backend: "onnxruntime"\ndefault_model_filename: "net.onnx"\n'
    files = {"1/net.onnx": affine(), "3/net.onnx": lookup()}
    write_model(repository, "renamed", files, config=renamed)
    write_model(repository, "folder", {"1/model.onnx/model.onnx": affine()})
    spec = ServeSpec(repository=repository, onnxruntime_backend=backend)
    with running(spec) as server:
        yield server.http_url


def infer(url, model, arrays, *, outputs=None):
    """Send arrays by input name, and return arrays by output name."""
    with client_library.InferenceServerClient(url.removeprefix("http://")) as client:
        tensors = []
        for name, array in arrays.items():
            dtype = np_to_triton_dtype(array.dtype)
            tensors.append(client_library.InferInput(name, list(array.shape), dtype))
            tensors[-1].set_data_from_numpy(array)
        wanted = outputs and [client_library.InferRequestedOutput(o) for o in outputs]
        result = client.infer(model, tensors, outputs=wanted)
        names = [output["name"] for output in result.get_response()["outputs"]]
        return {name: result.as_numpy(name) for name in names}


def infer_together(url, model, requests):
    """Send requests at once; return, in their order, the answer or the error."""

    def send(arrays):
        try:
            return infer(url, model, arrays)
        except InferenceServerException as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


@dataclass
class Counted:
    """What the server counted between two looks."""

    requests: int
    runs: int


def counts(url, model):
    (stats,) = HttpControl(url).statistics(model)
    return Counted(stats["inference_count"], stats["execution_count"])


def counts_once(url, model, requests):
    """Return the counts once so many requests are in them, or those after 10 s.

    The server counts a request after its answer has left.
    """
    deadline_s = time.monotonic() + 10
    while (now := counts(url, model)).requests < requests:
        if time.monotonic() > deadline_s:
            break
        time.sleep(0.01)
    return now


def values_of(onnx_type, rng, shape):
    """Any values of a type, the extreme ones among them."""
    name = next(t for t in DATA_TYPES if t.onnx == onnx_type)
    if name.name == "BYTES":
        texts = ["", "a", "Grüße ☃", "x" * 300, "nul\0inside"]
        flat = [rng.choice(texts).encode() for _ in range(int(np.prod(shape)))]
        return np.array(flat, dtype=object).reshape(shape)
    if name.name == "BF16":
        return rng.normal(size=shape).astype(ml_dtypes.bfloat16)
    dtype = np.dtype(name.numpy)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        values = rng.normal(size=shape).astype(dtype)
        values.flat[0] = np.inf
        return values
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("model", ["types", "types_bf16"])
def test_every_type_comes_back_bit_for_bit(url, model):
    rng = np.random.default_rng(1)
    onnx_types = WITHOUT_BF16 if model == "types" else WITHOUT_STRINGS
    arrays = {f"x_{t}": values_of(t, rng, (2, 3)) for t in onnx_types}

    answer = infer(url, model, arrays)

    assert len(answer) == len(onnx_types)
    for name, sent in arrays.items():
        back = answer[name.replace("x_", "y_")]
        assert back.shape == sent.shape
        assert back.tolist() == sent.tolist()
        assert back.dtype == sent.dtype


def test_random_shapes_and_batches_are_bit_equal_to_onnxruntime(url):
    session = ort.InferenceSession(mix())
    rng = np.random.default_rng(7)

    for _ in range(40):
        shape = (int(rng.integers(1, 5)), int(rng.integers(0, 40)))
        a = rng.normal(size=shape).astype(np.float32)
        b = rng.integers(-9, 9, shape)

        answer = infer(url, "mix", {"a": a, "b": b})

        product, total = session.run(["product", "total"], {"a": a, "b": b})
        assert (answer["product"] == product).all()
        assert answer["product"].shape == product.shape
        assert (answer["total"] == total).all()


def test_requests_that_come_together_share_runs_and_get_their_own_responses(url):
    rng = np.random.default_rng(3)
    sizes = [1, 2, 1, 3, 1, 1, 2, 5]  # a full batch of 16
    requests = [
        {
            "a": rng.normal(size=(size, 6)).astype(np.float32),
            "b": rng.integers(0, 9, (size, 6)),
        }
        for size in sizes
    ]
    session = ort.InferenceSession(mix())
    before = counts(url, "mix_joined")

    answers = infer_together(url, "mix_joined", requests)

    after = counts_once(url, "mix_joined", before.requests + sum(sizes))
    for request, answer in zip(requests, answers, strict=True):
        product, total = session.run(["product", "total"], request)
        assert (answer["product"] == product).all()
        # onnxruntime itself rounds a sum differently in a larger batch.
        np.testing.assert_allclose(answer["total"], total, rtol=1e-5, atol=1e-5)
    assert after.requests - before.requests == sum(sizes)
    assert after.runs - before.runs < len(sizes)


def test_requests_of_different_shapes_get_responses_together(url):
    requests = [
        {"a": np.ones((1, n), np.float32), "b": np.full((1, n), 2)} for n in range(1, 9)
    ]

    answers = infer_together(url, "mix_joined", requests)

    assert [answer["total"].item() for answer in answers] == [
        2 * n for n in range(1, 9)
    ]


def test_a_bad_request_in_a_joined_batch_fails_alone(url):
    requests = [{"x": np.array([[i]])} for i in [*range(8), 99, *range(7)]]
    before = counts(url, "lookup")

    answers = infer_together(url, "lookup", requests)

    failed = [i for i, answer in enumerate(answers) if isinstance(answer, Exception)]
    good = [a["y"].item() for a in answers if not isinstance(a, Exception)]
    assert failed == [8]
    assert "99" in str(answers[8])
    assert good == [100.0 * i for i in [*range(8), *range(7)]]
    after = counts_once(url, "lookup", before.requests + len(good))
    assert 0 < after.runs - before.runs < len(requests)


def test_only_the_outputs_asked_for_come_back(url):
    arrays = {"a": np.ones((1, 2), np.float32), "b": np.ones((1, 2), np.int64)}

    answer = infer(url, "mix", arrays, outputs=["total"])

    assert list(answer) == ["total"]
    assert answer["total"].tolist() == [[2.0]]


def test_a_graph_of_fixed_shape_is_served_without_batching(url):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)

    config = HttpControl(url).config("fixed").as_json
    answer = infer(url, "fixed", {"x": x})

    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config
    assert (answer["y"] == 2 * x + 1).all()


def test_a_config_with_inputs_and_outputs_keeps_its_max_batch_size_of_0(url):
    x = np.ones((7, 4), np.float32)

    assert HttpControl(url).config("no_batch").as_json["max_batch_size"] == 0
    assert (infer(url, "no_batch", {"x": x})["y"] == 3).all()


def test_what_the_config_leaves_out_is_filled_in_from_the_graph(url):
    config = HttpControl(url).config("affine").as_json
    (x,) = config["input"]
    (y,) = config["output"]

    assert config["max_batch_size"] == 4  # the server's own default
    assert "dynamic_batching" in config
    assert (x["name"], x["data_type"], x["dims"]) == ("x", "TYPE_FP32", [-1])
    assert (y["name"], y["data_type"], y["dims"]) == ("y", "TYPE_FP32", [-1])


def test_a_graph_without_axes_takes_one_number(url):
    answer = infer(url, "scalar", {"x": np.array([3.0], np.float32)})

    assert answer["y"].tolist() == [7.0]


def test_a_graph_of_one_number_per_item_is_batched(url):
    config = HttpControl(url).config("scalars").as_json

    answer = infer(url, "scalars", {"x": np.array([[1.0], [2.0]], np.float32)})

    assert config["max_batch_size"] == 4
    assert answer["y"].tolist() == [[3.0], [5.0]]


@pytest.mark.parametrize("model", ["bare", "tuned", "folder"])
def test_other_ways_to_write_the_same_model(url, model):
    answer = infer(url, model, {"x": np.ones((1, 4), np.float32)})

    assert answer["y"].tolist() == [[3.0] * 4]


def test_default_model_filename_and_the_newest_version_are_used(url):
    answer = infer(url, "renamed", {"x": np.array([[5]])})

    assert answer["y"].tolist() == [[500.0]]
    assert HttpControl(url).metadata("renamed").texts("versions") == ["3"]


def test_a_string_that_is_no_text_is_refused_by_the_python_backend(url, backend):
    if backend == "native":
        answer = infer(url, "strings", {"x": np.array([[b"\xff\xfe"]], dtype=object)})
        assert answer["y"].tolist() == [[b"\xff\xfe"]]
        return
    with pytest.raises(InferenceServerException, match=r"'x'.*not UTF-8"):
        infer(url, "strings", {"x": np.array([[b"\xff\xfe"]], dtype=object)})

    assert infer(url, "strings", {"x": np.array([[b"ok"]], dtype=object)})["y"] == b"ok"


def test_an_output_without_a_batch_axis_is_refused(url):
    with pytest.raises(InferenceServerException, match=r"'y'.*not the batch of 3"):
        infer(url, "unique", {"x": np.ones((3, 2), np.float32)})


def test_a_wrong_shape_is_refused_and_the_model_stays(url):
    with pytest.raises(InferenceServerException, match="shape"):
        infer(url, "bare", {"x": np.ones((1, 5), np.float32)})

    assert HttpControl(url).is_model_ready("bare")


X = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'
BATCH = "max_batch_size: 4\n"
BROKEN = {
    "a_truncated": (affine()[:-40], "", "onnxruntime .* cannot open .*model.onnx"),
    "b_garbage": (b"not a model", "", "onnxruntime .* cannot open .*model.onnx"),
    "c_empty": (b"", "", "onnxruntime .* cannot open .*model.onnx"),
    "d_type": (
        affine(),
        BATCH + X.replace("FP32", "INT64") + Y,
        "TYPE_INT64.*TYPE_FP32",
    ),
    "e_dims": (affine(), BATCH + X.replace("4", "5") + Y, r"'x'.*\[5\].*\[-1, 4\]"),
    "f_name": (affine(), BATCH + X.replace('"x"', '"z"') + Y, "'z'.*its inputs: x"),
    "g_output": (affine(), BATCH + X + Y.replace('"y"', '"z"'), "'z'.*outputs: y"),
    "h_missing": (mix(), BATCH + X.replace('"x"', '"a"') + Y, "'b' is in the graph"),
    "i_batch": (affine(shape=(2, 3)), BATCH, "no batch axis.*x .2, 3."),
    "j_mode": (
        affine(),
        'parameters { key: "execution_mode" value { string_value: "7" } }',
        "execution_mode.*7",
    ),
    "k_threads": (
        affine(),
        'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
        "intra_op_thread_count.*'many'",
    ),
    "l_file": (affine(), 'default_model_filename: "net.onnx"', "net.onnx.*model.onnx"),
}


# What the backend in Python cannot serve, and the one in C can.
BROKEN_IN_PYTHON = {
    "m_text_and_words": (
        every_type([TensorProto.STRING, TensorProto.BFLOAT16]),
        "",
        "string inputs .x_8. beside bfloat16 tensors .x_16, y_16.",
    ),
}


def test_a_graph_or_config_that_cannot_work_is_refused_with_both_sides(
    backend, tmp_path, write_onnx
):
    broken = BROKEN if backend == "native" else BROKEN | BROKEN_IN_PYTHON
    for name, (graph, config, _) in broken.items():
        write_onnx(tmp_path, name, graph, config=config)

    spec = ServeSpec(repository=tmp_path, onnxruntime_backend=backend)
    refused = pytest.raises(ServerError, match="did not load")
    with refused as caught, running(spec):
        pass

    lines = caught.value.message.splitlines()
    assert len(lines) == len(broken)
    for line, (name, (_, _, reason)) in zip(lines, sorted(broken.items()), strict=True):
        assert re.search(f"model '{name}' did not load: .*{reason}", line)
