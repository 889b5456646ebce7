"""perf against servers of the KServe v2 protocol that are not Triton, and gateways."""

import json

import pytest
import v2_servers
from proxies import nginx

from triton_kit.errors import SpecError
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.run.served_models import find_only_model
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec

pytestmark = pytest.mark.server

EXPECTED = {
    "affine": ([1.5, -2, 0, 4], [4.0, -3.0, 1.0, 9.0]),
    "upper": (["smile ö"], ["SMILE Ö"]),
}


@pytest.fixture(scope="module", params=["mlserver", "kserve"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with getattr(v2_servers, request.param)(folder) as started:
        yield started


def load(server, protocol, model, **changes):
    fixed = {"warm_up_s": 0, "request_count": 200, "loads": (ClosedLoad(4),)}
    url = getattr(server, protocol)
    return measure(
        PerfSpec(url=url, protocol=protocol, model=model, **(fixed | changes))
    )


@pytest.mark.parametrize("model", ["affine", "upper"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_request_succeeds_and_the_server_counts_the_same(server, protocol, model):
    load(server, protocol, model, request_count=1)  # `auto` may ask which form it takes
    before = server.served(model)

    tensor_format = "auto" if protocol == "grpc" else "json"
    transport = TransportSpec(tensor_format=tensor_format)
    result = load(server, protocol, model, batch_size=2, transport=transport)

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 200
    assert server.served(model) - before == 200


@pytest.mark.parametrize("model", ["affine", "upper"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_responses_are_those_of_the_model(server, protocol, model, tmp_path):
    given, expected = EXPECTED[model]
    steps = {"data": [{"x": given}], "validation_data": [{"y": expected}]}
    (tmp_path / "steps.json").write_text(json.dumps(steps))

    data = str(tmp_path / "steps.json")
    result = load(server, protocol, model, input_data=data, request_count=20)

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 20


def test_the_form_of_tensors_is_found_out(server):
    chosen = load(server, "http", "affine").spec["transport"]["tensor_format"]

    assert chosen == {"kserve": "binary", "mlserver": "json"}[server_name(server)]


def server_name(server):
    return load(server, "http", "affine", request_count=1).server["name"]


def test_what_the_server_does_not_have_is_said(server):
    result = load(server, "http", "affine", request_count=20)

    text = result.table()
    assert "no configuration of model affine" in text
    assert "first axis of its tensors is the batch" in text
    assert "keeps no statistics" in text
    assert result.model["max_batch_size"] is None
    assert not result.model["is_configured"]


def test_the_models_of_the_server_are_listed(server):
    with pytest.raises(SpecError, match="2 models: affine, upper"):
        find_only_model(PerfSpec(url=server.http, model="any"))


def test_an_unknown_model_is_named(server):
    with pytest.raises(SpecError, match="no model 'afine'") as caught:
        load(server, "http", "afine")

    assert caught.value.hint == "did you mean 'affine'?"


def test_a_gateway_that_forwards_only_metadata_and_inference_is_enough(
    server, tmp_path
):
    only = f"location = /v2/models/affine {{ proxy_pass http://{server.http}; }}"
    infer = f"location = /v2/models/affine/infer {{ proxy_pass http://{server.http}; }}"
    with nginx(tmp_path, f"{only} {infer} location / {{ return 404; }}") as url:
        spec = PerfSpec(url=url, model="affine", request_count=50, warm_up_s=0)
        result = measure(spec)

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 50
    assert result.server["name"] == ""
