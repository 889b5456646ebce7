"""Both onnxruntime backends give equal responses, bit for bit, to the same requests."""

import json
from contextlib import ExitStack
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import affine, every_type, identity, lookup, mix, unique

from triton_kit.errors import ServerError
from triton_kit.files import cache_folder
from triton_kit.serving.embedded import running
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend
from triton_kit.serving.spec import ServeSpec
from triton_kit.tensors import DATA_TYPES

pytestmark = pytest.mark.server

ROUNDS = 120
NUMBERS = [t.onnx for t in DATA_TYPES if t.name not in ("BF16", "BYTES")]
SIZES = {"BOOL": 1, "FP16": 2, "FP32": 4, "FP64": 8}
WHOLE = 'max_batch_size: 0\ninput {{ name: "x" data_type: TYPE_FP32 dims: {0} }}\n'
WHOLE += 'output {{ name: "y" data_type: TYPE_FP32 dims: {0} }}\n'
MODELS = {
    "affine": affine(shape=("batch", "n")),
    "fixed": affine(shape=(2, 3)),
    "lookup": lookup(),
    "mix": mix(),
    "scalars": affine(shape=("batch",)),
    "strings": identity(TensorProto.STRING, ["batch", "n"]),
    "types": every_type(NUMBERS),
    "unique": unique(),
}
TYPES = {t.onnx: t for t in DATA_TYPES}
INPUTS = {
    "affine": {"x": "FP32"},
    "fixed": {"x": "FP32"},
    "lookup": {"x": "INT64"},
    "mix": {"a": "FP32", "b": "INT64"},
    "scalars": {"x": "FP32"},
    "strings": {"x": "BYTES"},
    "types": {f"x_{t}": TYPES[t].name for t in NUMBERS},
    "unique": {"x": "FP32"},
}


@pytest.fixture(scope="module")
def connections(tmp_path_factory, write_onnx):
    """An HTTP connection to a server with each backend, over the same models."""
    repository = tmp_path_factory.mktemp("both")
    for name, graph in MODELS.items():
        write_onnx(repository, name, graph)
    try:
        choose_onnxruntime_backend("native", cache=cache_folder())
    except ServerError as error:
        pytest.skip(error.message)
    with ExitStack() as stack:
        found = []
        for backend in ("native", "python"):
            spec = ServeSpec(repository=repository, onnxruntime_backend=backend)
            server = stack.enter_context(running(spec))
            parts = urlsplit(server.http_url)
            found.append(HTTPConnection(parts.hostname, parts.port, timeout=30))
            stack.callback(found[-1].close)
        yield found


def content(rng, kind, elements):
    """Return the bytes of random values of a type."""
    if kind == "BYTES":
        texts = [
            rng.choice(["", "a", "ü☃", "long" * 50]).encode() for _ in range(elements)
        ]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    if kind == "BOOL":
        return rng.integers(0, 2, elements, np.uint8).tobytes()
    if kind.startswith("FP"):
        size = SIZES[kind]
        return rng.normal(size=elements).astype(f"f{size}").tobytes()
    size = int(kind.lstrip("UINT")) // 8
    if kind == "INT64":
        return rng.integers(-3, 12, elements).tobytes()
    return rng.bytes(size * elements)


def request(rng, model):
    """Return a random request: mostly one that works, else with one thing wrong."""
    batch, width = int(rng.integers(1, 5)), int(rng.integers(0, 9))
    shapes = {"fixed": [2, 3], "scalars": [batch, 1], "lookup": [batch, 1]}
    shape = shapes.get(model, [batch, 3 if model == "types" else width])
    shape = [batch, 2] if model == "unique" else shape
    inputs, bodies = [], []
    for name, kind in INPUTS[model].items():
        body = content(rng, kind, int(np.prod(shape)))
        inputs.append({"name": name, "datatype": kind, "shape": list(shape)})
        bodies.append(body)
    mutate(rng, inputs, bodies)
    for entry, body in zip(inputs, bodies, strict=True):
        entry["parameters"] = {"binary_data_size": len(body)}
    return {"inputs": inputs, "parameters": {"binary_data_output": True}}, bodies


def mutate(rng, inputs, bodies):
    """Spoil one input in half of the requests."""
    place, entry = 0, inputs[0]
    choice = int(rng.integers(0, 12))
    if choice == 0:
        entry["shape"] = entry["shape"][:-1]
    elif choice == 1:
        entry["shape"] = [*entry["shape"], 1]
    elif choice == 2:
        entry["shape"][0] += 1
    elif choice == 3:
        bodies[place] = bodies[place][:-1]
    elif choice == 4:
        inputs.pop(place)
        bodies.pop(place)
    elif choice == 5 and bodies[place]:
        at = int(rng.integers(0, len(bodies[place])))
        # The length of a string, perhaps; as a number, another one.
        bodies[place] = bodies[place][:at] + b"\x01" + bodies[place][at + 1 :]


def send(connection, model, header, bodies):
    """Return the outputs as name, type, shape and bytes; None for a refusal."""
    text = json.dumps(header).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    path = f"/v2/models/{model}/infer"
    connection.request("POST", path, b"".join([text, *bodies]), length)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        return None
    # The header is missing where no output has bytes.
    size = int(response.headers["Inference-Header-Content-Length"] or len(body))
    found = []
    for output in json.loads(body[:size])["outputs"]:
        end = size + output["parameters"]["binary_data_size"]
        described = (output["name"], output["datatype"], output["shape"])
        found.append((*described, body[size:end]))
        size = end
    return sorted(found)  # the order of the outputs is the backend's


def is_text(bodies):
    """Return whether every body is UTF-8, but for the lengths of its strings."""
    try:
        return all(body.replace(b"\xc8\0\0\0", b"").decode() for body in bodies)
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("model", MODELS)
def test_random_and_spoiled_requests_get_the_same_responses(connections, model):
    rng = np.random.default_rng(sum(model.encode()))
    successes = 0

    for _ in range(ROUNDS):
        header, bodies = request(rng, model)

        native, python = (send(c, model, header, bodies) for c in connections)

        if model == "strings" and python is None and not is_text(bodies):
            continue  # the native backend passes any bytes
        assert native == python, (header, bodies)
        successes += native is not None

    least = {"lookup": 1, "unique": 0}  # few indices, and few batches, are right
    assert successes >= least.get(model, ROUNDS / 4)
