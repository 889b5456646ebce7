from pathlib import Path

import pytest
from perf_triton import triton_running

from triton_kit.errors import ServerError, SpecError, TransportError
from triton_kit.perf.control_grpc import GrpcControl
from triton_kit.perf.control_http import HttpControl
from triton_kit.perf.measure import measure
from triton_kit.perf.spec import ClosedLoad, PerfSpec

pytestmark = pytest.mark.server

MODELS = Path(__file__).parent / "perf_models"


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    work = tmp_path_factory.mktemp("perf_grpc")
    flags = ("--exit-on-error=false", "--strict-readiness=false")  # one is broken
    with triton_running(MODELS, work, *flags) as server:
        yield server


def spec(triton, **changes):
    fixed = {"url": triton.grpc, "protocol": "grpc", "model": "mlp", "warm_up_s": 0}
    return PerfSpec(**(fixed | changes))


def test_the_server_counts_the_same_requests(triton):
    control = GrpcControl(spec(triton).address)
    before = control.statistics("mlp")

    result = measure(
        spec(
            triton,
            loads=(ClosedLoad(1), ClosedLoad(32)),
            batch_size=4,
            request_count=1000,
        )
    )
    [after] = control.statistics("mlp")

    assert [run.recording.errors for run in result.runs] == [{}, {}]
    assert [run.answered for run in result.runs] == [1000, 1000]
    earlier = int(before[0].get("inference_count", 0)) if before else 0
    assert int(after["inference_count"]) - earlier == 8000


def test_every_dtype_reaches_the_model(triton):
    result = measure(spec(triton, model="every_dtype", request_count=20))

    assert result.runs[0].recording.errors == {}


def test_a_large_tensor_goes_there_and_back(triton):
    result = measure(
        spec(
            triton,
            model="varying",
            shapes={"x": (1_000_000,)},
            loads=(ClosedLoad(4),),
            request_count=12,
        )
    )

    assert result.runs[0].recording.errors == {}


def test_requests_that_the_model_refuses_are_counted_not_raised(triton):
    result = measure(spec(triton, model="moody", request_count=64))
    run = result.runs[0]

    assert run.answered + run.errors == 64
    assert "not in the mood" in run.recording.errors["gRPC INTERNAL"].example


@pytest.mark.parametrize("model", ["mlp", "every_dtype", "varying"])
def test_both_protocols_describe_a_model_alike(triton, model):
    over_http = HttpControl(PerfSpec(url=triton.http, model=model).address)

    assert GrpcControl(spec(triton).address).model(model) == over_http.model(model)


def test_an_unknown_model_names_the_nearest(triton):
    with pytest.raises(SpecError, match="no model 'mpl'") as caught:
        measure(spec(triton, model="mpl"))

    assert caught.value.hint == "did you mean 'mlp'?"


def test_a_model_that_failed_to_load_says_why(triton):
    with pytest.raises(ServerError, match="born broken"):
        measure(spec(triton, model="broken"))


def test_the_http_port_is_recognised(triton):
    with pytest.raises(TransportError, match="does not speak gRPC") as caught:
        measure(spec(triton, url=triton.http))

    assert "HTTP port" in caught.value.hint
