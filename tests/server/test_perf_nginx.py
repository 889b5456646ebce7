"""perf through a real nginx: retries over gRPC, and what its errors are called."""

import pytest
from proxies import nginx
from tls_fixtures import make_certificate

from triton_kit.errors import TransportError
from triton_kit.loadtest.client.control_grpc import GrpcControl
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server


def grpc_load(url, **changes):
    fixed = {"url": url, "protocol": "grpc", "model": "mlp", "warm_up_s": 0}
    return measure(PerfSpec(**(fixed | changes))).runs[0]


@pytest.mark.parametrize(("keepalive_requests", "count"), [(1000, 8_000), (10, 2_000)])
def test_the_goaways_of_nginx_make_up_no_errors(
    loaded, tmp_path, keepalive_requests, count
):
    server = f"""
    keepalive_requests {keepalive_requests};
    location / {{ grpc_pass grpc://{loaded.grpc_url}; }}
    """
    with nginx(tmp_path, server, listen="http2") as url:
        run = grpc_load(url, loads=(ClosedLoad(64),), request_count=count)

    assert run.recording.errors == {}
    assert run.recording.succeeded == count
    assert run.recording.retried > 0
    assert run.as_json()["retried"] == run.recording.retried


@pytest.mark.parametrize(
    ("directive", "prefix", "message", "hint"),
    [
        ("return 401;", "", "denies access.*401", "-H 'Authorization"),
        ("return 403;", "", "denies access.*403", "-H 'Authorization"),
        (
            "return 302 https://x.test/v2;",
            "",
            "to https://x.test/v2",
            "-u https://x.test",
        ),
        ("return 502;", "", "server behind it does not.*502", "behind the gateway"),
        ("proxy_pass http://127.0.0.1:9;", "", "does not.*502", "behind the gateway"),
        ("return 504;", "", "server behind it does not.*504", "behind the gateway"),
        ("return 404;", "", "not the KServe v2 protocol.*404", "-H 'Host: NAME'"),
        ("return 404;", "/a/v2/models/m", "gave HTTP 404", "leave /v2/models/m out"),
        ("return 429;", "", "GET /v2 gave 429", "8000"),
    ],
)
def test_a_refusal_of_a_gateway_names_the_remedy(
    tmp_path, directive, prefix, message, hint
):
    with (
        nginx(tmp_path, f"location / {{ {directive} }}") as url,
        pytest.raises(TransportError, match=message) as caught,
    ):
        HttpControl(f"{url}{prefix}").server()

    assert hint in caught.value.hint


def test_a_tls_port_asked_in_plain_http_is_named(tmp_path):
    certificate, key = make_certificate(tmp_path)
    server = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    with (
        nginx(tmp_path, server, listen="ssl") as url,
        pytest.raises(TransportError, match="speaks TLS") as caught,
    ):
        HttpControl(url).server()

    assert caught.value.hint == f"-u https://{url}"


def test_grpc_shows_the_error_page_of_a_gateway(tmp_path):
    server = "location / { return 502 'the backend is away'; }"
    with (
        nginx(tmp_path, server, listen="http2") as url,
        pytest.raises(TransportError, match="HTTP 502: the backend is away"),
    ):
        GrpcControl(PerfSpec(url=url, protocol="grpc", model="m").address).server()


def test_requests_over_grpc_that_meet_an_error_page_are_counted_with_its_text(
    loaded, tmp_path
):
    server = f"""
    location / {{ grpc_pass grpc://{loaded.grpc_url}; }}
    location /inference.GRPCInferenceService/ModelInfer {{ return 503 'no room'; }}
    """
    with nginx(tmp_path, server, listen="http2") as url:
        run = grpc_load(url, request_count=20)

    assert run.recording.errors["HTTP 503"].count == 20
    assert run.recording.errors["HTTP 503"].example == "no room"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_gateway_that_routes_by_name_reads_the_host_header(
    loaded, tmp_path, protocol
):
    target = {
        "http": f"proxy_pass {loaded.http_url};",
        "grpc": f"grpc_pass grpc://{loaded.grpc_url};",
    }[protocol]
    server = f"""
    location / {{
      if ($host != "models.test") {{ return 404; }}
      {target}
    }}
    """
    listen = {"http": "", "grpc": "http2"}[protocol]
    with nginx(tmp_path, server, listen=listen) as url:
        spec = PerfSpec(
            url=url,
            protocol=protocol,
            model="mlp",
            headers={"Host": "models.test"},
            request_count=20,
            warm_up_s=0,
        )
        run = measure(spec).runs[0]

    assert (run.recording.succeeded, run.recording.errors) == (20, {})
