"""perf through a real HAProxy, over HTTP and h2c gRPC: limits, errors, GOAWAY."""

import pytest
from proxies import haproxy

from triton_kit.errors import TransportError
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server

PROTOCOLS = ("http", "grpc")
BIND = {"http": "", "grpc": "proto h2"}
# The part of a path that only requests have, not questions about the model.
INFER = {"http": "/infer", "grpc": "/ModelInfer"}


def server_line(loaded, protocol, options=""):
    address = {"http": loaded.http_url, "grpc": loaded.grpc_url}[protocol]
    kind = "" if protocol == "http" else "proto h2"
    return f"server triton {address.removeprefix('http://')} {kind} {options}"


def load(url, protocol, **changes):
    fixed = {
        "model": "mlp",
        "loads": (ClosedLoad(16),),
        "request_count": 400,
        "warm_up_s": 0,
    }
    spec = PerfSpec(url=url, protocol=protocol, **(fixed | changes))
    return measure(spec).runs[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("reuse", ["never", "safe", "always"])
def test_haproxy_makes_up_no_errors(loaded, tmp_path, protocol, reuse):
    backend = f"http-reuse {reuse}\n  {server_line(loaded, protocol)}"
    with haproxy(tmp_path, backend, bind=BIND[protocol]) as url:
        run = load(url, protocol, request_count=2000)

    assert (run.recording.succeeded, run.recording.errors) == (2000, {})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_connections_that_haproxy_ends_make_up_no_errors(loaded, tmp_path, protocol):
    # It sends `Connection: close`, or GOAWAY, with every response.
    frontend = "http-after-response set-header Connection close\n  option httpclose"
    with haproxy(
        tmp_path, server_line(loaded, protocol), frontend=frontend, bind=BIND[protocol]
    ) as url:
        run = load(url, protocol, request_count=1000)

    assert (run.recording.succeeded, run.recording.errors) == (1000, {})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_few_connections_to_the_server_make_requests_wait(loaded, tmp_path, protocol):
    backend = server_line(loaded, protocol, "maxconn 2")
    with haproxy(tmp_path, backend, bind=BIND[protocol]) as url:
        run = load(url, protocol)

    assert (run.recording.succeeded, run.recording.errors) == (400, {})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("status", [401, 404, 413, 429, 502, 503, 504])
def test_responses_of_haproxy_itself_are_counted_by_status(
    loaded, tmp_path, protocol, status
):
    frontend = (
        f"http-request return status {status} content-type text/plain "
        f"string no-room if {{ path_end {INFER[protocol]} }}"
    )
    backend = server_line(loaded, protocol)
    with haproxy(tmp_path, backend, frontend=frontend, bind=BIND[protocol]) as url:
        run = load(url, protocol, request_count=40)

    assert run.recording.succeeded == 0
    [(kind, tally)] = run.recording.errors.items()
    assert (kind, tally.count, tally.example) == (f"HTTP {status}", 40, "no-room")
    assert run.verdict.is_failing


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_full_queue_is_503(loaded, tmp_path, protocol):
    backend = server_line(loaded, protocol, "maxconn 1")
    with haproxy(tmp_path, backend, bind=BIND[protocol]) as url:
        # 20 ms each, one at a time, and 200 ms in the queue at most.
        run = load(url, protocol, model="slow", request_count=64)

    assert set(run.recording.errors) == {"HTTP 503"}
    assert run.recording.succeeded > 0
    assert run.recording.total == 64


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_is_slower_than_haproxy_waits_is_504(loaded, tmp_path, protocol):
    backend = server_line(loaded, protocol)
    with haproxy(tmp_path, backend, bind=BIND[protocol], timeout="100ms") as url:
        run = load(url, protocol, model="slow", request_count=40)

    assert "HTTP 504" in run.recording.errors
    assert run.recording.total == 40


def test_no_server_behind_haproxy_is_said(tmp_path):
    with (
        haproxy(tmp_path, "server away 127.0.0.1:9") as url,
        pytest.raises(TransportError, match=r"does not \(HTTP 503") as caught,
    ):
        HttpControl(url).server()

    assert "behind the gateway" in caught.value.hint


def test_more_calls_than_haproxy_takes_on_a_connection_are_spread(loaded, tmp_path):
    backend, limit = server_line(loaded, "grpc"), "tune.h2.max-concurrent-streams 4"
    with haproxy(tmp_path, backend, bind="proto h2", settings=limit) as url:
        run = load(url, "grpc", loads=(ClosedLoad(64),), request_count=2000)

    assert (run.recording.succeeded, run.recording.errors) == (2000, {})
