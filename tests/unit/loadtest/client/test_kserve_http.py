import json

import numpy as np
import pytest
import tritonclient.http as oracle

from triton_kit.errors import SpecError
from triton_kit.loadtest.client.kserve_http import infer_request
from triton_kit.loadtest.inputs.data import drawn_inputs, random_array
from triton_kit.loadtest.inputs.draws import StringData, at_random
from triton_kit.tensors import DATA_TYPES, Tensor, data_type
from triton_kit.triton.address import Address
from triton_kit.triton.model import ModelInfo
from triton_kit.triton.tensor_bytes import to_bytes

ADDRESS = Address(host="localhost", port=8000, path="/prefix")
SERVABLE = [dtype for dtype in DATA_TYPES if dtype.name != "BF16"]


def model(*inputs, batches=8):
    return ModelInfo(
        name="m m", version="1", max_batch_size=batches, inputs=inputs, outputs=()
    )


def split(request):
    head, _, body = request.payload.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    return lines[0], fields, body


@pytest.mark.parametrize("dtype", SERVABLE, ids=lambda dtype: dtype.name)
def test_the_body_is_what_tritonclient_sends(dtype):
    tensor = Tensor(name="x", dtype=dtype, shape=(3, 2))
    array = random_array(dtype, (4, 3, 2), np.random.default_rng(1))
    theirs = oracle.InferInput("x", [4, 3, 2], dtype.name)
    theirs.set_data_from_numpy(array)
    expected, json_bytes = oracle.InferenceServerClient.generate_request_body([theirs])

    request = infer_request(ADDRESS, model(tensor), {"x": array}, inferences=4)
    _, fields, body = split(request)
    length = int(fields["Inference-Header-Content-Length"])

    assert body[length:] == expected[json_bytes:]
    assert (
        json.loads(body[:length])["inputs"]
        == (json.loads(expected[:json_bytes])["inputs"])
    )
    assert int(fields["Content-Length"]) == len(body)


def test_the_head_names_the_model_under_the_prefix_of_the_url():
    array = np.zeros((1, 2), np.float32)
    tensor = Tensor(name="x", dtype=data_type("FP32"), shape=(2,))

    request = infer_request(
        ADDRESS,
        model(tensor),
        {"x": array},
        inferences=1,
        version="3",
        headers={"x-key": "secret"},
    )
    first, fields, _ = split(request)

    assert first == "POST /prefix/v2/models/m%20m/versions/3/infer HTTP/1.1"
    assert fields["Host"] == "localhost:8000"
    assert fields["x-key"] == "secret"


def test_bf16_travels_as_two_bytes_each():
    array = random_array(data_type("BF16"), (3,), np.random.default_rng(0))

    assert len(to_bytes(array, data_type("BF16"))) == 6


def test_the_same_seed_draws_the_same_inputs():
    tensors = [Tensor(name=dtype.name, dtype=dtype, shape=(5,)) for dtype in DATA_TYPES]
    shapes = {tensor.name: tensor.shape for tensor in tensors}

    def draw():
        return drawn_inputs(
            model(*tensors),
            {tensor.name: at_random(tensor, StringData()) for tensor in tensors},
            shapes,
            batch_size=2,
            generator=np.random.default_rng(0),
        )

    first, second = draw(), draw()

    assert list(first) == [dtype.name for dtype in DATA_TYPES]
    for name, array in first.items():
        assert array.shape == (2, 5)
        assert (array == second[name]).all()


def json_request(dtype, array, **parameters):
    tensor = Tensor(name="x", dtype=data_type(dtype), shape=(-1,))
    inputs = {"x": array}
    request = infer_request(
        ADDRESS,
        model(tensor),
        inputs,
        inferences=1,
        parameters=parameters,
        is_json=True,
    )
    _, fields, body = split(request)
    assert fields["Content-Type"] == "application/json"
    assert "Inference-Header-Content-Length" not in fields
    return json.loads(body)


@pytest.mark.parametrize("dtype", SERVABLE, ids=lambda dtype: dtype.name)
def test_json_carries_every_type_of_the_protocol(dtype):
    array = random_array(dtype, (2, 3), np.random.default_rng(1))

    [tensor] = json_request(dtype.name, array)["inputs"]

    assert (tensor["name"], tensor["datatype"]) == ("x", dtype.name)
    assert tensor["shape"] == [2, 3]
    assert "parameters" not in tensor
    if dtype.name == "BYTES":
        assert [text.encode() for text in tensor["data"]] == array.ravel().tolist()
    else:
        back = np.array(tensor["data"], array.dtype).reshape(2, 3)
        np.testing.assert_array_equal(back, array)


def test_json_has_the_parameters_of_the_user_only():
    array = np.zeros((1, 2), np.float32)

    assert "parameters" not in json_request("FP32", array)
    assert json_request("FP32", array, priority=1)["parameters"] == {"priority": 1}


@pytest.mark.parametrize(
    ("dtype", "array", "message"),
    [
        ("BF16", np.zeros((1, 2), np.uint16), "BF16, which JSON cannot carry"),
        ("FP32", np.array([[np.nan]], np.float32), "not finite"),
        ("FP64", np.array([[np.inf]]), "not finite"),
        ("BYTES", np.array([[b"\xff\xfe"]], np.object_), "no text"),
    ],
)
def test_what_json_cannot_carry_is_refused(dtype, array, message):
    with pytest.raises(SpecError, match=message):
        json_request(dtype, array)
