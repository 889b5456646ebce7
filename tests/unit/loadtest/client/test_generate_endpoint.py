import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.loadtest.client.generate import generate_request
from triton_kit.loadtest.http.server_sent_events import EventReader, error_in_event
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.address import Address
from triton_kit.triton.model import ModelInfo

ADDRESS = Address(host="h", port=1)
MODEL = ModelInfo(name="m", version="1", max_batch_size=0, inputs=(), outputs=())


def body_of(inputs, **parameters):
    request = generate_request(
        ADDRESS, MODEL, inputs, endpoint="generate", parameters=parameters
    )
    head, _, body = request.payload.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/m/generate HTTP/1.1")
    assert f"Content-Length: {len(body)}".encode() in head
    return json.loads(body)


def test_inputs_become_plain_json():
    text = np.array([b"why?"], np.object_)
    numbers = np.array([[1.5, 2.0]], np.float32)

    assert body_of({"text": text, "x": numbers}, temperature=1) == {
        "temperature": 1,
        "text": "why?",
        "x": [1.5, 2.0],
    }


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(SpecError, match="'text' is no text"):
        body_of({"text": np.array([b"\xff"], np.object_)})


@given(
    events=st.lists(st.text('ab{}:" ', min_size=1, max_size=9), max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_events_come_out_whole_however_they_were_cut(events, end, cuts):
    data = "".join(f"data: {text}{end}{end}" for text in events).encode()
    reader, seen, at = EventReader(), [], 0

    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        seen += reader.feed(data[at:cut])
        at = cut

    assert seen == [text.encode() for text in events]


def test_comments_are_no_events_and_several_data_lines_are_one():
    assert EventReader().feed(b": alive\n\ndata: a\ndata: b\n\n") == [b"a\nb"]


def test_an_error_event_is_no_response():
    assert error_in_event(b'{"error":"too many"}') == "too many"
    assert error_in_event(b'{"text_output":"\\"error\\" is a word"}') == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "generat"},
        {"endpoint": "generate", "shared_memory": "system"},
        {"shared_memory": "cdua"},
        {"output_bytes": -1},
        {"connections": 0},
        {"connections": 257},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(SpecError):
        TransportSpec(**wrong)
