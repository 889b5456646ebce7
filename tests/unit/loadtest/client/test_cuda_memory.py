"""Everything about memory on a GPU but the GPU: a stand-in takes CUDA's calls."""

import base64
import ctypes
import json
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from scripted_server import serving
from tritonclient.grpc import InferenceServerClient as GrpcClient
from tritonclient.http import InferenceServerClient as HttpClient

from triton_kit.errors import ServerError, SpecError
from triton_kit.loadtest.client.control_grpc import GrpcControl
from triton_kit.loadtest.client.cuda_memory import CudaRegion
from triton_kit.loadtest.client.cuda_runtime import CudaError, CudaRuntime
from triton_kit.loadtest.client.shared_memory import SharedMemory
from triton_kit.triton.address import Address
from triton_kit.triton.control_http import HttpControl

SOURCE = Path(__file__).with_name("cuda_stand_in.c")
HANDLE = bytes(range(64))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("cuda") / "libcudart.so"
    argv = [compiler, "-shared", "-fPIC", "-o", str(path), str(SOURCE)]
    subprocess.run(argv, check=True, capture_output=True)
    return str(path)


class Registrations:
    """A control that remembers what it was told, and refuses where it is to."""

    def __init__(self, refusal=""):
        self.known = {}
        self._refusal = refusal

    def register_cuda_memory(self, name, handle, device, size):
        if self._refusal:
            raise ServerError(self._refusal)
        self.known[name] = (handle, device, size)

    def unregister_cuda_memory(self, name):
        del self.known[name]


def freed(library):
    return ctypes.CDLL(library).standInFreed()


def share(region, data):
    with SharedMemory(region, output_bytes=0) as memory:
        memory.place_input(data)
        memory.register()


def test_inputs_lie_on_the_gpu_where_the_requests_point(library):
    control = Registrations()
    before = freed(library)
    region = CudaRegion(control, find=lambda: CudaRuntime(library))

    with SharedMemory(region, output_bytes=0) as memory:
        places = [memory.place_input(data) for data in (b"first", b"x" * 100)]
        again = memory.place_input(b"first")
        memory.register()
        [(name, (handle, device, size))] = control.known.items()
        (address,) = struct.unpack("P", handle[:8])
        found = [ctypes.string_at(address + p.offset, p.size) for p in places]

    assert found == [b"first", b"x" * 100]
    assert again == places[0]
    assert {place.region for place in places} == {name}
    assert (device, len(handle)) == (0, 64)
    assert size >= places[1].offset + places[1].size
    assert control.known == {}
    assert freed(library) == before + 1


def test_a_gpu_that_is_full_is_an_error_before_the_load(library):
    region = CudaRegion(Registrations(), find=lambda: CudaRuntime(library))

    with pytest.raises(SpecError, match=r"GPU memory to share: .*out of memory"):
        share(region, bytes(2 << 20))


def test_a_server_that_cannot_open_it_is_explained_and_nothing_stays(library):
    before = freed(library)
    region = CudaRegion(
        Registrations("failed to open CUDA IPC handle"),
        find=lambda: CudaRuntime(library),
    )

    with pytest.raises(ServerError, match="failed to open CUDA IPC handle") as caught:
        share(region, b"data")

    assert "the same GPU" in caught.value.hint
    assert freed(library) == before + 1


def test_a_machine_without_a_gpu_says_so_in_cudas_words(library, monkeypatch):
    monkeypatch.setenv("NO_GPU", "1")

    with pytest.raises(CudaError, match="no CUDA-capable device is detected"):
        CudaRuntime(library)


@contextmanager
def grpc_server(calls):
    """A real gRPC server that keeps the bytes of every call and answers with none."""

    class Keep(grpc.GenericRpcHandler):
        def service(self, details):
            def answer(message, _context):
                calls.append((details.method, message))
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([Keep()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_over_grpc_the_server_gets_what_tritonclient_sends():
    calls = []
    with grpc_server(calls) as port:
        control = GrpcControl(Address(host="127.0.0.1", port=port))
        control.register_cuda_memory("region", HANDLE, 0, 4096)
        control.unregister_cuda_memory("region")
        with GrpcClient(f"127.0.0.1:{port}") as client:
            encoded = base64.b64encode(HANDLE)
            client.register_cuda_shared_memory("region", encoded, 0, 4096)
            client.unregister_cuda_shared_memory("region")

    assert calls[:2] == calls[2:]
    assert calls[0][0].endswith("CudaSharedMemoryRegister")
    assert HANDLE in calls[0][1]


def test_over_http_the_server_gets_what_tritonclient_sends():
    calls = []

    def script(peer, _index):
        while request := peer.read_http():
            head, body = request
            calls.append((head.split()[1].lstrip(b"/"), json.loads(body or b"{}")))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with serving(script) as (host, port):
        control = HttpControl(Address(host=host, port=port))
        control.register_cuda_memory("region", HANDLE, 0, 4096)
        control.unregister_cuda_memory("region")
        client = HttpClient(f"{host}:{port}")
        try:
            encoded = base64.b64encode(HANDLE)
            client.register_cuda_shared_memory("region", encoded, 0, 4096)
            client.unregister_cuda_shared_memory("region")
        finally:
            client.close()

    assert calls[:2] == calls[2:]
    assert calls[0][1]["raw_handle"] == {"b64": base64.b64encode(HANDLE).decode()}
