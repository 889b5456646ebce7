"""The real server accepts the flags that the kit makes, and keeps to them."""

import http.client
from urllib.parse import urlsplit

import grpc
import psutil
import pytest
from test_serve_isolation import known_flags
from tls_fixtures import make_certificate, make_expired_certificate
from tritonclient.grpc import service_pb2, service_pb2_grpc

from triton_kit.errors import SpecError
from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.features import Features
from triton_kit.serving.flags import ENDPOINTS, Place, server_flags
from triton_kit.serving.keys import GRPC_KEY_HEADER, KEY_HEADER
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.releases import find_release
from triton_kit.triton.server_flags import all_flags

pytestmark = pytest.mark.server
EVERY_FEATURE = Features(
    config_name="h100",
    load_threads=2,
    load_retries=1,
    response_cache_bytes=1 << 20,
    rate_resources=("R1:4:0", "R2:1"),
    trace_url="http://127.0.0.1:9/v1/traces",
    trace_rate=10,
    trace_level="TIMESTAMPS",
    log_format="ISO8601",
    log_verbose=1,
    pinned_memory_bytes=1 << 20,
    cuda_memory=("0:1048576",),
    min_compute_capability=7.5,
    backend_configs=("tensorrt,version-compatible=true",),
)


def test_the_table_of_flags_is_that_of_the_real_server():
    listed = known_flags()
    listed.pop("--help")
    release = find_release("24.10")
    table = {f.name: f.value for f in all_flags().values() if f.is_in(release)}

    assert set(table) == set(listed)
    for name, value in table.items():
        kind = listed[name].strip("<>") or "none"
        assert value.strip("<>") in (kind, {"float": "number"}.get(kind)), name


def test_every_feature_at_once_is_accepted(tmp_path, write_identity):
    write_identity(tmp_path, "identity")
    spec = ServeSpec(
        repository=tmp_path,
        features=EVERY_FEATURE,
        access=Access(key_file=tmp_path.parent / f"{tmp_path.name}.key"),
    )

    with running(spec) as server:
        argv = psutil.Process(server.pid).cmdline()
        log = server.log.read_text()
        assert server.key_file == spec.access.key_file
        assert server.key == spec.access.key_file.read_text().strip()

    place = Place(
        ports={"http": 8000, "grpc": 8001, "metrics": 8002},
        key=server.key,
        addresses=dict.fromkeys(ENDPOINTS, "0.0.0.0"),
        paths={tmp_path: "/models"},
    )
    of_a_container = server_flags(spec, find_release("24.10"), place)
    mine = {"--backend-directory", "--cache-directory", "python", "onnxruntime"}
    given = [f for f in argv[1:] if not any(word in f for word in mine)]
    assert [f.partition("=")[0] for f in given] == [
        f.partition("=")[0] for f in of_a_container
    ]
    assert server.key not in log


def test_two_repositories_serve_as_one(tmp_path, write_identity):
    for name in ("one", "two"):
        write_identity(tmp_path / f"of-{name}", name)
    spec = ServeSpec(
        repository=tmp_path / "of-one", more_repositories=(tmp_path / "of-two",)
    )

    with running(spec) as server:
        assert set(server.models) == {"one", "two"}
        assert all(server.control.is_model_ready(name) for name in server.models)


def ask(server, method, path, key):
    parts = urlsplit(server.http_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    headers = {KEY_HEADER: key} if key else {}
    connection.request(method, path, body="{}", headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


OPEN = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/identity"),
    ("GET", "/v2/models/identity/ready"),
    ("GET", "/v2/models/identity/config"),
    ("GET", "/v2/models/identity/stats"),
]
CLOSED = [
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/identity/load"),
    ("GET", "/v2/trace/setting"),
    ("POST", "/v2/trace/setting"),
    ("POST", "/v2/models/identity/trace/setting"),
    ("GET", "/v2/logging"),
    ("POST", "/v2/logging"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/unregister"),
    ("GET", "/v2/cudasharedmemory/status"),
    ("POST", "/v2/repository/models/identity/unload"),
]


@pytest.fixture
def controlled(tmp_path, write_identity):
    write_identity(tmp_path, "identity")
    spec = ServeSpec(repository=tmp_path, model_control="explicit", models=("*",))
    with running(spec) as server:
        yield server


def test_every_control_endpoint_over_http_demands_the_key(controlled):
    def status(endpoints, key):
        return {(m, p): ask(controlled, m, p, key) for m, p in endpoints}

    assert set(status(OPEN, "").values()) == {200}
    for key in ("", "x" * 43):
        assert set(status(CLOSED, key).values()) == {403}
    # A CPU-only server has no CUDA memory to report.
    with_key = status([e for e in CLOSED if "cuda" not in e[1]], controlled.key)
    assert set(with_key.values()) == {200}


def test_every_control_call_over_grpc_demands_the_key(controlled):
    calls = {
        "RepositoryIndex": service_pb2.RepositoryIndexRequest(),
        "RepositoryModelLoad": service_pb2.RepositoryModelLoadRequest(
            model_name="identity"
        ),
        "TraceSetting": service_pb2.TraceSettingRequest(),
        "LogSettings": service_pb2.LogSettingsRequest(),
        "SystemSharedMemoryStatus": service_pb2.SystemSharedMemoryStatusRequest(),
        "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(
            model_name="identity"
        ),
    }
    with grpc.insecure_channel(controlled.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=30).live
        for name, request in calls.items():
            with pytest.raises(grpc.RpcError) as caught:
                getattr(stub, name)(request, timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, name
            assert "restricted" in caught.value.details()
        for name, request in calls.items():
            metadata = [(GRPC_KEY_HEADER, controlled.key)]
            getattr(stub, name)(request, timeout=60, metadata=metadata)


def test_grpc_demands_a_certificate_of_its_clients(tmp_path, write_identity):
    write_identity(tmp_path / "models", "identity")
    certificate, key = make_certificate(tmp_path)
    client, client_key = make_certificate(tmp_path, host="client")
    spec = ServeSpec(
        repository=tmp_path / "models",
        access=Access(
            grpc_certificate=certificate, grpc_key=key, grpc_authorities=client
        ),
    )
    request = service_pb2.ServerLiveRequest()

    with running(spec) as server:
        url = f"localhost:{server.grpc_url.rpartition(':')[2]}"

        def is_live(**mine):
            credentials = grpc.ssl_channel_credentials(certificate.read_bytes(), **mine)
            with grpc.secure_channel(url, credentials) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                return stub.ServerLive(request, timeout=10).live

        assert is_live(
            private_key=client_key.read_bytes(), certificate_chain=client.read_bytes()
        )
        with pytest.raises(grpc.RpcError):
            is_live()
        with grpc.insecure_channel(server.grpc_url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError):
                stub.ServerLive(request, timeout=10)


def test_an_expired_certificate_is_refused_before_the_start(tmp_path):
    certificate, key = make_expired_certificate(tmp_path)

    with pytest.raises(SpecError, match="certificate has expired"):
        Access(grpc_certificate=certificate, grpc_key=key)


def test_a_key_of_another_certificate_is_refused(tmp_path):
    certificate, _ = make_certificate(tmp_path)
    _, other = make_certificate(tmp_path, host="other")

    with pytest.raises(SpecError, match="key values mismatch"):
        Access(grpc_certificate=certificate, grpc_key=other)
    with pytest.raises(SpecError, match="no certificate and key"):
        Access(grpc_certificate=other, grpc_key=other)
