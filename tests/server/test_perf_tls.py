from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tls_fixtures import make_certificate, tls_proxy

from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.tls import Tls

pytestmark = pytest.mark.server

MODELS = Path(__file__).parent / "perf_models"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secured(certificate):
    """The real server, whose gRPC port speaks TLS."""
    path, key = certificate
    flags = ("--grpc-use-ssl=true", f"--grpc-server-cert={path}")
    spec = ServeSpec(
        repository=MODELS,
        model_control="explicit",
        models=("mlp", "varying"),
        flags=(*flags, f"--grpc-server-key={key}"),
    )
    with running(spec) as started:
        yield started


@pytest.fixture(scope="module")
def proxied(certificate, loaded):
    with tls_proxy(*certificate, to_port=urlsplit(loaded.http_url).port) as port:
        yield port


def over_grpc(server, **tls):
    port = server.grpc_url.rsplit(":", 1)[1]
    return PerfSpec(
        url=f"localhost:{port}",
        protocol="grpc",
        model="mlp",
        loads=(ClosedLoad(1), ClosedLoad(16)),
        request_count=400,
        warm_up_s=0,
        transport=TransportSpec(tls=Tls(**tls)),
    )


def over_http(port, **tls):
    return PerfSpec(
        url=f"https://localhost:{port}",
        model="mlp",
        loads=(ClosedLoad(1), ClosedLoad(8)),
        request_count=200,
        warm_up_s=0,
        transport=TransportSpec(tls=Tls(**tls)),
    )


def test_grpc_over_tls_measures_as_without(secured, certificate):
    result = measure(over_grpc(secured, authorities=str(certificate[0])))

    assert [run.recording.errors for run in result.runs] == [{}, {}]
    assert [run.figures.succeeded for run in result.runs] == [400, 400]


def test_tensors_larger_than_a_tls_record_go_there_and_back(secured, certificate):
    spec = over_grpc(secured, authorities=str(certificate[0]))
    result = measure(
        PerfSpec(
            url=spec.url,
            protocol="grpc",
            model="varying",
            shapes={"x": (500_000,)},
            loads=(ClosedLoad(4),),
            request_count=12,
            warm_up_s=0,
            transport=spec.transport,
        )
    )

    assert result.runs[0].recording.errors == {}


def test_http_over_tls_measures_as_without(proxied, certificate):
    result = measure(over_http(proxied, authorities=str(certificate[0])))

    assert [run.recording.errors for run in result.runs] == [{}, {}]
    assert [run.figures.succeeded for run in result.runs] == [200, 200]


def test_a_certificate_of_an_unknown_authority_is_explained(secured, proxied):
    for spec in (over_grpc(secured), over_http(proxied)):
        with pytest.raises(TransportError, match="is not trusted") as caught:
            measure(spec)

        assert "authority" in caught.value.hint


def test_verification_can_be_left_out(proxied):
    result = measure(over_http(proxied, verify_peer=False))

    assert result.runs[0].errors == 0


def test_a_certificate_for_another_host_is_refused_unless_that_is_wanted(
    loaded, tmp_path
):
    certificate, key = make_certificate(tmp_path, host="elsewhere")
    to_port = urlsplit(loaded.http_url).port

    with tls_proxy(certificate, key, to_port=to_port) as port:
        with pytest.raises(TransportError, match="Hostname mismatch"):
            measure(over_http(port, authorities=str(certificate)))
        result = measure(
            over_http(port, authorities=str(certificate), verify_host=False)
        )

    assert result.runs[0].errors == 0


def test_a_port_that_hangs_up_at_the_handshake_is_recognised(loaded):
    url = urlsplit(loaded.http_url).netloc
    spec = PerfSpec(
        url=url, protocol="grpc", model="mlp", transport=TransportSpec(tls=Tls())
    )

    with pytest.raises(TransportError, match="no TLS with"):
        measure(spec)


def test_a_port_without_tls_is_recognised(loaded):
    port = loaded.grpc_url.rsplit(":", 1)[1]
    with pytest.raises(TransportError, match="no TLS with"):
        measure(over_http(port, verify_peer=False))
    with pytest.raises(TransportError, match="no TLS with"):
        measure(over_grpc(loaded, verify_peer=False))


def test_a_file_that_is_no_certificate_is_named(tmp_path):
    path = tmp_path / "no.pem"
    path.write_text("nothing")

    with pytest.raises(SpecError, match=r"no\.pem: not PEM"):
        measure(over_http(1, authorities=str(path)))


def test_the_command_takes_perf_analyzers_flags(secured, certificate, kit):
    port = secured.grpc_url.rsplit(":", 1)[1]
    result = kit(
        *("perf", "-m", "mlp", "-u", f"localhost:{port}", "-i", "grpc"),
        *("--ssl-grpc-use-ssl", "--ssl-grpc-root-certifications-file"),
        *(certificate[0], "--request-count", 50),
    )

    assert result.exit_code == 0, result.output
    assert "concurrency 1" in result.output


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_server_reads_compressed_requests(loaded, protocol, algorithm):
    result = measure(
        PerfSpec(
            url=loaded.grpc_url if protocol == "grpc" else loaded.http_url,
            protocol=protocol,
            model="varying",
            shapes={"x": (1000,)},
            input_data="zero",
            loads=(ClosedLoad(4),),
            request_count=40,
            warm_up_s=0,
            transport=TransportSpec(compression=algorithm),
        )
    )

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 40


def test_a_plain_client_of_a_tls_port_is_told_so(secured, kit):
    result = kit("infer", "-m", "mlp", "-i", "grpc", "-u", secured.grpc_url)

    assert result.exit_code == 6, result.output
    assert "does not speak gRPC: it speaks TLS first" in result.stderr
    assert "hint: use grpcs:// in the URL" in result.stderr
