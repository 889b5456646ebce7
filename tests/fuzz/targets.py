"""What is fuzzed: each function reads bytes, and may only raise what it promises.

An exception that is not promised, more than 10 s or more than 1 GiB is a find.
"""

import tempfile
from contextlib import suppress
from pathlib import Path

from triton_kit.artifact import inspect_onnx, inspect_plan
from triton_kit.errors import SpecError, TransportError, TritonKitError
from triton_kit.loadtest.client import decode
from triton_kit.loadtest.http.grpc_response import StreamingResponses, UnaryResponses
from triton_kit.loadtest.http.http1_response import (
    HeadReader,
    MalformedResponseError,
    ResponseReader,
)
from triton_kit.loadtest.http.http2_connection import Http2Connection
from triton_kit.loadtest.http.http2_frames import HeaderList, ProtocolError
from triton_kit.loadtest.http.http2_request_writer import Stream
from triton_kit.loadtest.http.server_sent_events import EventReader, error_in_event
from triton_kit.loadtest.inputs.documents import steps_from_json
from triton_kit.loadtest.record.metrics import parse_metrics
from triton_kit.loadtest.record.stats import _summed
from triton_kit.loadtest.request import Request
from triton_kit.project.load import load_project
from triton_kit.repository.config.formatting import format_config
from triton_kit.repository.config.parse import parse
from triton_kit.repository.config.parse_json import parse_json as parse_config_json
from triton_kit.samples import read_npz
from triton_kit.tensors import Tensor, data_type
from triton_kit.triton.json_fields import Fields, list_of_fields, parse_json
from triton_kit.triton.model import ModelInfo, index_entries, model_info

_SCRATCH = Path(tempfile.mkdtemp(prefix="triton-kit-fuzz-", dir="/dev/shm"))
_REQUEST = Request(b"\0\0\0\0\0", 1, HeaderList(((":path", "/x"),)))
_MODEL = ModelInfo(
    name="m",
    version="1",
    max_batch_size=8,
    inputs=(
        Tensor(name="x", dtype=data_type("FP32"), shape=(-1,)),
        Tensor(name="s", dtype=data_type("BYTES"), shape=(2, 2)),
    ),
    outputs=(Tensor(name="y", dtype=data_type("INT8"), shape=(-1, 3)),),
)


def _file(data, name):
    path = _SCRATCH / name
    path.write_bytes(data)
    return path


def _pieces(data):
    """Cut data as a socket may: the first byte says where."""
    size = (data[0] if data else 0) or 1 << 20
    rest = data[1:]
    return [rest[at : at + size] for at in range(0, len(rest), size)]


def http1(data):
    reader = ResponseReader(HeadReader(), keep_body=True)
    with suppress(MalformedResponseError):
        for piece in _pieces(data):
            if reader.feed(piece):
                reader.restart()
        reader.ends_by_close()


def http2(data):
    responses = [
        UnaryResponses(),
        UnaryResponses(keep=True),
        StreamingResponses(lambda *_: None, lambda _: ""),
    ]
    for response in responses:
        connection = Http2Connection(lambda *_: None, response)
        for slot in range(3):
            connection.start(Stream(slot), _REQUEST)
        with suppress(ProtocolError):
            for piece in _pieces(data):
                connection.feed(piece, 1)
                connection.out.clear()


def grpc(data):
    for read in (decode.decode_grpc, decode.decode_grpc_stream):
        with suppress(ValueError):
            read(data)


def http_tensors(data):
    for read in (decode.decode_http, decode.decode_generate, decode.decode_events):
        with suppress(ValueError):
            read(data)


def events(data):
    reader = EventReader()
    with suppress(ValueError):
        for piece in _pieces(data):
            for event in reader.feed(piece):
                error_in_event(event)


def server_json(data):
    with suppress(TransportError):
        value = parse_json(data, "a server")
        readers = (
            lambda: model_info(Fields(value, "a server"), version="1"),
            lambda: index_entries(list_of_fields(value, "a server")),
            lambda: _summed([Fields(value, "a server").as_json]),
        )
        for read in readers:
            with suppress(TritonKitError):
                read()


def metrics(data):
    with suppress(ValueError):
        parse_metrics(data.decode(errors="replace"))


def pbtxt(data):
    with suppress(TritonKitError):
        parse(data, path=Path("config.pbtxt"))
    with suppress(TritonKitError):
        format_config(data)


def config_json(data):
    with suppress(TritonKitError):
        parse_config_json(data)


def project(data):
    with suppress(SpecError):
        load_project(_file(data, "triton-kit.yaml"), env={"VALUE": "1", "TEXT": "a"})


def onnx(data):
    path = _file(data, "model.onnx")
    for read in (inspect_onnx, inspect_plan):
        with suppress(TritonKitError):
            read(path)


def input_data(data):
    with suppress(SpecError):
        steps_from_json(_file(data, "data.json"), _MODEL, {})


def npz(data):
    with suppress(SpecError):
        read_npz(_file(data, "data.npz"))


TARGETS = {
    function.__name__: function
    for function in (
        http1,
        http2,
        grpc,
        http_tensors,
        events,
        server_json,
        metrics,
        pbtxt,
        config_json,
        project,
        onnx,
        input_data,
        npz,
    )
}


def clean_up():
    """Remove the scratch folder of this process."""
    for path in _SCRATCH.iterdir():
        path.unlink()
    _SCRATCH.rmdir()
