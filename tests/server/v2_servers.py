"""Real servers of the KServe v2 protocol beside Triton: MLServer and KServe's own.

Both serve `affine` (y = 2x + 1, FP32, shape (batch, 4)) and `upper` (text in capitals,
BYTES, shape (batch, 1)).
"""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from venvs import python_with

WITHIN_S = 90.0

MLSERVER_MODELS = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Affine(MLModel):
    async def predict(self, payload):
        x = NumpyCodec.decode_input(payload.inputs[0])
        return self.response(NumpyCodec.encode_output("y", 2 * x + 1))

    def response(self, output):
        return InferenceResponse(model_name=self.name, outputs=[output])


class Upper(Affine):
    async def predict(self, payload):
        words = StringCodec.decode_input(payload.inputs[0])
        capitals = [word.upper() for word in words]
        return self.response(StringCodec.encode_output("y", capitals))
"""
KSERVE_MODELS = """
import sys

import numpy as np
from kserve import InferOutput, InferResponse, Model, ModelServer

TENSORS = {"affine": ("FP32", [-1, 4]), "upper": ("BYTES", [-1, 1])}


class Model(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    async def get_input_types(self):
        datatype, shape = TENSORS[self.name]
        return [{"name": "x", "datatype": datatype, "shape": shape}]

    async def get_output_types(self):
        return [{**(await self.get_input_types())[0], "name": "y"}]

    def predict(self, payload, headers=None, response_headers=None):
        x = payload.inputs[0].as_numpy()
        if self.name == "affine":
            y = 2 * x + 1
        else:
            words = [w if isinstance(w, str) else w.decode() for w in x.ravel()]
            capitals = [word.upper().encode() for word in words]
            y = np.array(capitals, np.object_).reshape(x.shape)
        output = InferOutput("y", list(y.shape), TENSORS[self.name][0])
        is_binary = payload.inputs[0]._raw_data is not None
        output.set_data_from_numpy(y, binary_data=is_binary)
        return InferResponse("1", self.name, [output])


ports = {"http_port": int(sys.argv[1]), "grpc_port": int(sys.argv[2])}
ModelServer(workers=1, enable_latency_logging=False, **ports).start(
    [Model(name) for name in TENSORS]
)
"""
TENSORS = {"affine": ("FP32", [-1, 4]), "upper": ("BYTES", [-1, 1])}


@dataclass(frozen=True)
class V2Server:
    """Where a server listens, and how its metrics count the requests of a model."""

    http: str
    grpc: str
    metrics: str
    counter: str

    def served(self, model):
        """Return how many requests of a model the server has answered."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics") as response:
            text = response.read().decode()
        rows = re.findall(rf"^{self.counter}\{{([^}}]*)\}} (\S+)", text, re.M)
        return sum(float(count) for labels, count in rows if f'"{model}"' in labels)


@contextmanager
def mlserver(folder):
    """Run MLServer over both models."""
    python = python_with("mlserver", "mlserver==1.7.1", "setuptools<81")
    ports = free_ports(3)
    names = ("http_port", "grpc_port", "metrics_port")
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False}
    settings |= dict(zip(names, ports, strict=True))
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "runtimes.py").write_text(MLSERVER_MODELS)
    for name, (datatype, shape) in TENSORS.items():
        tensors = {
            side: [{"name": tensor, "datatype": datatype, "shape": shape}]
            for side, tensor in (("inputs", "x"), ("outputs", "y"))
        }
        implementation = f"runtimes.{name.capitalize()}"
        model = {"name": name, "implementation": implementation, **tensors}
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    argv = [python, "-m", "mlserver.cli.main", "start", str(folder)]
    http, grpc, metrics = (f"127.0.0.1:{port}" for port in ports)
    counter = "model_infer_request_success_total"
    with running(argv, folder, http):
        yield V2Server(http, grpc, metrics, counter)


@contextmanager
def kserve(folder):
    """Run KServe's own server over both models."""
    python = python_with("kserve", "kserve==0.21.0", "setuptools<81")
    (folder / "models.py").write_text(KSERVE_MODELS)
    ports = free_ports(2)
    argv = [python, str(folder / "models.py"), *map(str, ports)]
    http, grpc = (f"127.0.0.1:{port}" for port in ports)
    with running(argv, folder, http):
        yield V2Server(http, grpc, http, "request_predict_seconds_count")


def free_ports(count):
    with ExitStack() as stack:
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        for listener in listeners:
            stack.enter_context(listener)
        return [listener.getsockname()[1] for listener in listeners]


@contextmanager
def running(argv, folder, http):
    log = folder / "log"
    environment = os.environ | {"PYTHONPATH": str(folder)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, cwd=folder, env=environment
        )
    try:
        wait_until_ready(process, http, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process, http, log):
    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            url = f"http://{http}/v2/models/upper/ready"
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text()[-3000:])
