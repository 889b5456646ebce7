import gzip
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from triton_kit.loadtest.client import decode
from triton_kit.loadtest.client.check import OutputCheck, flat, joined
from triton_kit.loadtest.http import compression
from triton_kit.loadtest.http.grpc_status import framed
from triton_kit.loadtest.request import Request

COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress}
Y = np.array([[1.5, 2.5]], np.float32)


def http_answer():
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2]}
    output["parameters"] = {"binary_data_size": 8}
    return json.dumps({"outputs": [output]}).encode() + Y.tobytes()


def response():
    message = service_pb2.ModelInferResponse(model_name="m")
    message.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    message.raw_output_contents.append(Y.tobytes())
    return message


def reply():
    return service_pb2.ModelStreamInferResponse(infer_response=response())


@pytest.mark.parametrize("compress", [bytes, *COMPRESS.values()])
def test_http_outputs_are_read_however_they_are_compressed(compress):
    outputs = decode.decode_http(compress(http_answer()))

    np.testing.assert_array_equal(outputs["y"], Y)


@pytest.mark.parametrize("algorithm", COMPRESS)
def test_grpc_outputs_are_read_compressed_or_not(algorithm):
    plain = response().SerializeToString()
    compressed = framed(COMPRESS[algorithm](plain), is_compressed=True)

    for answer in (framed(plain), compressed):
        np.testing.assert_array_equal(decode.decode_grpc(answer)["y"], Y)


@pytest.mark.parametrize("algorithm", COMPRESS)
def test_the_messages_of_a_stream_are_one_response(algorithm):
    message = reply().SerializeToString()
    packed = framed(COMPRESS[algorithm](message), is_compressed=True)

    outputs = decode.decode_grpc_stream(framed(message) + packed)

    assert outputs["y"].tolist() == [1.5, 2.5, 1.5, 2.5]


@pytest.mark.parametrize("damage", [lambda d: d[:-3], lambda d: d[:2] + b"?" + d[3:]])
@pytest.mark.parametrize("compress", COMPRESS.values())
def test_damaged_responses_are_unreadable_not_wrong(damage, compress):
    check = OutputCheck(decode.decode_http)
    request = Request(b"")
    check.expect(request, {"y": Y})

    failure = check(request, damage(compress(http_answer())))

    assert failure.kind == "unreadable response"
    assert "compressed" in failure.detail


@pytest.mark.parametrize("compress", COMPRESS.values())
def test_a_few_bytes_do_not_expand_without_end(compress):
    bomb = compress(bytes(compression.LARGEST_RESPONSE_BYTES + 1))

    with pytest.raises(ValueError, match="when expanded"):
        compression.expanded(bomb)


@given(st.binary(max_size=2000), st.sampled_from(sorted(COMPRESS)))
def test_what_was_compressed_expands_to_itself(data, algorithm):
    assert compression.expanded(compression.compressed(data, algorithm)) == data


READERS = {
    decode.decode_http: http_answer(),
    decode.decode_grpc: framed(response().SerializeToString()),
    decode.decode_grpc_stream: framed(reply().SerializeToString()) * 2,
    decode.decode_generate: b'{"y":[1.5,2.5],"t":"a"}',
    decode.decode_events: b'{"y":1.5}\n{"y":[2.5,"a"]}',
}


@pytest.mark.parametrize("read", READERS)
@given(data=st.data())
def test_damaged_responses_are_outputs_or_a_value_error(read, data):
    damaged = bytearray(READERS[read])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"null", b"[", b"{}", b"1e999"])
        )

    try:
        outputs = read(bytes(damaged))
    except ValueError:
        return

    assert isinstance(outputs, dict)


def test_generate_gives_values_or_lists():
    outputs = decode.decode_generate(b'{"model_name":"m","y":[1,2.5],"text":"\\u00e9"}')

    assert outputs["y"].tolist() == [1, 2.5]
    assert outputs["text"].tolist() == ["é".encode()]


def test_events_are_joined_in_their_order():
    outputs = decode.decode_events(b'{"t":"a","n":1}\n{"t":"b",\n "n":[2,3]}\n')

    assert outputs["n"].tolist() == [1, 2, 3]
    assert joined(outputs)["t"].tolist() == [b"ab"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b'{"y":[1.5,2.500001]}', None),
        (b'{"y":[1.5,2.6]}', "wrong response"),
        (b'{"y":[1.5]}', "wrong response"),
        (b'{"y":["1.5","2.5"]}', "wrong response"),
        (b'{"y":null}', "wrong response"),
        (b'{"z":[1.5,2.5]}', "wrong response"),
        (b"[1.5,2.5]", "unreadable response"),
        (b'{"y":', "unreadable response"),
    ],
)
def test_generate_is_held_against_what_was_expected(answer, kind):
    check = OutputCheck(decode.decode_generate, flat)
    request = Request(b"")
    check.expect(request, {"y": Y})

    failure = check(request, answer)

    assert (failure.kind if failure else None) == kind


@pytest.mark.parametrize("is_escaped", [True, False])
def test_json_outputs_are_read_whether_their_text_is_escaped_or_not(is_escaped):
    outputs = [
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.5]},
        {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["ö", "€"]},
    ]
    outputs[0]["parameters"] = None
    text = json.dumps({"outputs": outputs}, ensure_ascii=is_escaped)

    found = decode.decode_http(text.encode())

    np.testing.assert_array_equal(found["y"], Y)
    assert found["t"].tolist() == ["ö".encode(), "€".encode()]


def test_grpc_outputs_are_read_from_lists_where_there_are_no_bytes():
    message = service_pb2.ModelInferResponse(model_name="m")
    y = message.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    y.contents.fp32_contents.extend([1.5, 2.5])
    text = message.outputs.add(name="t", datatype="BYTES", shape=[2])
    text.contents.bytes_contents.extend([b"a", b"bc"])
    message.outputs.add(name="none", datatype="INT64", shape=[0])

    found = decode.decode_grpc(framed(message.SerializeToString()))

    np.testing.assert_array_equal(found["y"], Y)
    assert found["t"].tolist() == [b"a", b"bc"]
    assert found["none"].shape == (0,)
