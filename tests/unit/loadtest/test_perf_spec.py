import os
from dataclasses import replace

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.shapes import input_shapes
from triton_kit.loadtest.loops.load import (
    ClosedLoad,
    PeriodicLoad,
    RateLoad,
    concurrency_range,
)
from triton_kit.loadtest.option_texts import parse_header, parse_shape
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec, connections_for
from triton_kit.tensors import Tensor, data_type
from triton_kit.triton.address import parse_address, shown
from triton_kit.triton.model import ModelInfo


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8", [8]), ("1:3", [1, 2, 3]), ("1:16:5", [1, 6, 11, 16]), ("2:8:4", [2, 6])],
)
def test_a_concurrency_range_includes_its_end(text, expected):
    assert [load.concurrency for load in concurrency_range(text)] == expected


@pytest.mark.parametrize("text", ["", "a", "4:1", "1:4:0", "1:2:3:4", "0", "99999"])
def test_an_impossible_range_is_refused(text):
    with pytest.raises(SpecError):
        concurrency_range(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:3,224,224", ("x", (3, 224, 224))),
        ("x:1x3x8", ("x", (1, 3, 8))),
        ("scope/x:0:4", ("scope/x:0", (4,))),
    ],
)
def test_shapes_are_read_in_both_notations(text, expected):
    assert parse_shape(text) == expected


@pytest.mark.parametrize("text", ["x", "x:", ":3", "x:a,b", "x:3,,4"])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(SpecError, match="not of the form"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("cpus", "processes", "connections"),
    [
        *[(1, 1, 1), (2, 1, 1), (4, 1, 1), (8, 1, 2), (16, 1, 4), (96, 1, 4)],
        *[(16, 2, 2), (16, 4, 1), (16, 8, 1)],
    ],
)
def test_as_many_connections_as_suit_the_machine(cpus, processes, connections):
    assert connections_for(cpus, processes) == connections


@pytest.mark.parametrize("processes", [1, 2])
def test_connections_suit_this_machine_unless_they_are_asked_for(processes):
    suit = connections_for(os.cpu_count() or 1, processes)
    asked = TransportSpec(connections=suit + 1)
    spec = PerfSpec(url="h", model="m", protocol="grpc", processes=processes)

    assert spec.connections == suit
    assert replace(spec, transport=asked).connections == suit + 1


@pytest.mark.parametrize("text", ["x", "a b:c", "a:b\r\nInjected: yes", ":v", "a:\x00"])
def test_a_header_that_would_break_out_of_its_line_is_refused(text):
    with pytest.raises(SpecError, match="header"):
        parse_header(text)


def test_a_header_is_name_and_value():
    assert parse_header("Authorization: Bearer a:b") == ("Authorization", "Bearer a:b")


@pytest.mark.parametrize(
    "name", ["content-length", "Transfer-Encoding", "Connection", "TE", "Expect"]
)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_header_that_the_transport_owns_is_refused(protocol, name):
    with pytest.raises(SpecError, match="by the transport itself"):
        PerfSpec(url="h:1", model="m", protocol=protocol, headers={name: "1"})


def test_a_content_type_is_the_transports_own_over_grpc_only():
    headers = {"Content-Type": "application/octet-stream"}

    PerfSpec(url="h:1", model="m", headers=headers)
    with pytest.raises(SpecError, match="by the transport itself"):
        PerfSpec(url="h:1", model="m", protocol="grpc", headers=headers)


@pytest.mark.parametrize(
    "text", ["Authorization: Bearer hünter2", "hunter2", "Authorization: hunter2\n\tx"]
)
def test_no_message_has_the_value_of_a_header(text):
    with pytest.raises(SpecError) as caught:
        parse_header(text)

    assert "nter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["user:hunter2@host:8000", "http://u:hunter2@h:99999"])
def test_no_message_has_the_password_of_a_url(url):
    spec = PerfSpec(url="h:1", model="m")

    with pytest.raises(SpecError) as caught:
        replace(spec, url=url).address  # noqa: B018

    assert "hunter2" not in str(caught.value)


def test_a_url_with_credentials_names_the_header_for_them():
    with pytest.raises(SpecError, match="credentials are not taken") as caught:
        parse_address("http://user:secret@h:1", default_port=8000)

    assert "-H 'Authorization:" in caught.value.hint


def test_a_shown_url_has_no_secrets():
    assert shown("http://u:p@h:1/m?token=x") == "http://***@h:1/m?***"
    assert shown("h:1/m") == "h:1/m"


def test_a_pseudo_header_is_no_header():
    with pytest.raises(SpecError, match="not of the form NAME:VALUE"):
        parse_header(":path:/x")


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("localhost", "localhost:8000", ""),
        ("localhost:1234", "localhost:1234", ""),
        ("http://h:1/triton/", "h:1", "/triton"),
        ("[::1]:9", "[::1]:9", ""),
    ],
)
def test_a_url_is_read_with_and_without_scheme(url, authority, path):
    address = parse_address(url, default_port=8000)

    assert (address.authority, address.path) == (authority, path)


@pytest.mark.parametrize(
    "url", ["", "http://", "ftp://h:1", "h:99999", "h:x", "h:1?q=1", "u@h:1"]
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(SpecError):
        parse_address(url, default_port=8000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"loads": ()},
        {"batch_size": 0},
        {"measurement_interval_s": 0},
        {"request_count": 0},
        {"warm_up_s": -1},
        {"request_timeout_s": 0},
        {"seed": -1},
        {"url": "no url at all"},
    ],
)
def test_a_spec_that_cannot_be_measured_does_not_exist(wrong):
    with pytest.raises(SpecError):
        PerfSpec(**({"url": "localhost", "model": "m"} | wrong))


def test_no_request_in_flight_is_no_load():
    with pytest.raises(SpecError, match="concurrency 0"):
        ClosedLoad(0)


def model(*dims, batches=8):
    tensor = Tensor(name="x", dtype=data_type("FP32"), shape=dims)
    return ModelInfo(
        name="m", version="1", max_batch_size=batches, inputs=(tensor,), outputs=()
    )


def test_a_shape_may_be_given_with_or_without_the_batch_axis():
    for wanted in ((3, 224), (4, 3, 224)):
        shapes = input_shapes(model(3, -1), {"x": wanted}, batch_size=4)

        assert shapes == {"x": (3, 224)}


def test_an_input_that_varies_needs_a_shape():
    with pytest.raises(SpecError, match="varies in shape") as caught:
        input_shapes(model(3, -1), {}, batch_size=1)

    assert caught.value.hint == "set the shape: --shape x:3,1"


@pytest.mark.parametrize("wanted", [(4, 224), (3,), (3, -1), (2, 3, 224)])
def test_a_shape_that_does_not_fit_is_refused_with_what_the_model_says(wanted):
    with pytest.raises(SpecError, match="says 3x-1"):
        input_shapes(model(3, -1), {"x": wanted}, batch_size=4)


def test_a_shape_for_an_unknown_input_names_the_known_ones():
    with pytest.raises(SpecError, match="the inputs of 'm' are x"):
        input_shapes(model(3), {"y": (3,)}, batch_size=1)


def test_a_batch_beyond_the_limit_is_refused():
    with pytest.raises(SpecError, match="at most 8"):
        model(3).check_batch_size(9)
    with pytest.raises(SpecError, match="does not batch"):
        model(3, batches=0).check_batch_size(2)


@pytest.mark.parametrize(
    "load", [ClosedLoad(2), PeriodicLoad(start=1, end=2, step=1, period=3)]
)
def test_real_time_priority_needs_due_times(load):
    with pytest.raises(SpecError, match="due at a time, those of"):
        PerfSpec(url="h:1", model="m", loads=(load,), real_time=True)


def test_a_client_may_not_spin_at_real_time_priority():
    loads = (RateLoad(rate_hz=10),)

    with pytest.raises(SpecError, match="spins at real-time priority"):
        PerfSpec(url="h:1", model="m", loads=loads, real_time=True, precise=True)


def test_a_path_in_a_grpc_url_is_refused():
    with pytest.raises(SpecError, match="'/prefix'") as caught:
        PerfSpec(url="grpc://host:8001/prefix", protocol="grpc", model="m")

    assert "-u host:8001" in caught.value.hint


def test_grpcs_means_tls():
    spec = PerfSpec(url="grpcs://host", protocol="grpc", model="m")

    assert spec.address.tls is not None
    assert spec.address.port == 8001


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensor_format": "xml"}, "unknown tensor format"),
        ({"tensor_format": "json", "shared_memory": "system"}, "JSON, and tensors in"),
        ({"tensor_format": "binary", "endpoint": "generate"}, "takes plain JSON"),
        ({"new_connection_every": 0}, "need 1 or more"),
    ],
)
def test_transports_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        TransportSpec(**changes)


def test_a_form_of_tensors_is_for_http():
    transport = TransportSpec(tensor_format="json")

    with pytest.raises(SpecError, match="binary tensors only"):
        PerfSpec(url="x", model="m", protocol="grpc", transport=transport)


def test_memory_is_shared_with_one_server():
    transport = TransportSpec(shared_memory="system")

    with pytest.raises(SpecError, match="shared with one server, not with 2"):
        PerfSpec(url="x", more_urls=("y",), model="m", transport=transport)
