import gzip
import zlib

import numpy as np
import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.client import kserve_grpc, kserve_http
from triton_kit.loadtest.client.grpc_call import call_headers
from triton_kit.loadtest.http.grpc_status import PREFIX, PREFIX_BYTES
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.tensors import Tensor, data_type
from triton_kit.triton.address import Address
from triton_kit.triton.model import ModelInfo

ADDRESS = Address(host="h", port=1)
MODEL = ModelInfo(
    name="m",
    version="1",
    max_batch_size=0,
    inputs=(Tensor(name="x", dtype=data_type("FP32"), shape=(1000,)),),
    outputs=(),
)
INPUTS = {"x": np.zeros(1000, np.float32)}
UNDO = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@pytest.mark.parametrize("algorithm", UNDO)
def test_a_compressed_call_says_so_and_holds_the_same_message(algorithm):
    headers = call_headers(ADDRESS, "ModelInfer", compression=algorithm)
    request = kserve_grpc.infer_request(
        headers, MODEL, INPUTS, inferences=1, compression=algorithm
    )

    flag, length = PREFIX.unpack_from(request.payload)
    message = UNDO[algorithm](request.payload[PREFIX_BYTES:])
    assert ("grpc-encoding", algorithm) in request.headers.fields
    assert (flag, length) == (1, len(request.payload) - PREFIX_BYTES)
    assert message == kserve_grpc.infer_message(MODEL, INPUTS).SerializeToString()


@pytest.mark.parametrize("algorithm", UNDO)
def test_a_compressed_body_says_so_and_holds_the_same_bytes(algorithm):
    plain = kserve_http.infer_request(ADDRESS, MODEL, INPUTS, inferences=1)
    request = kserve_http.infer_request(
        ADDRESS, MODEL, INPUTS, inferences=1, compression=algorithm
    )

    head, _, body = request.payload.partition(b"\r\n\r\n")
    assert f"Content-Encoding: {algorithm}".encode() in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert UNDO[algorithm](body) == plain.payload.partition(b"\r\n\r\n")[2]


def test_an_unknown_compression_names_the_nearest():
    with pytest.raises(SpecError) as caught:
        TransportSpec(compression="gzp")

    assert caught.value.hint == "did you mean 'gzip'?"
