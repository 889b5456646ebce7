import pytest

from triton_kit.errors import ServerError, SpecError, TransportError
from triton_kit.loadtest.client.control_grpc import GrpcControl
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server


def spec(loaded, **changes):
    fixed = {"url": loaded.grpc_url, "protocol": "grpc", "model": "mlp", "warm_up_s": 0}
    return PerfSpec(**(fixed | changes))


def test_the_server_counts_the_same_requests(loaded):
    control = GrpcControl(spec(loaded).address)
    before = control.statistics("mlp")

    result = measure(
        spec(
            loaded,
            loads=(ClosedLoad(1), ClosedLoad(32)),
            batch_size=4,
            request_count=1000,
        )
    )
    [after] = control.statistics("mlp")

    assert [run.recording.errors for run in result.runs] == [{}, {}]
    assert [run.figures.succeeded for run in result.runs] == [1000, 1000]
    earlier = int(before[0].get("inference_count", 0)) if before else 0
    assert int(after["inference_count"]) - earlier == 8000


def test_every_dtype_reaches_the_model(loaded):
    result = measure(spec(loaded, model="every_dtype", request_count=20))

    assert result.runs[0].recording.errors == {}


def test_a_large_tensor_goes_there_and_back(loaded):
    result = measure(
        spec(
            loaded,
            model="varying",
            shapes={"x": (1_000_000,)},
            loads=(ClosedLoad(4),),
            request_count=12,
        )
    )

    assert result.runs[0].recording.errors == {}


def test_requests_that_the_model_refuses_are_counted_not_raised(loaded):
    result = measure(spec(loaded, model="moody", request_count=64))
    run = result.runs[0]

    assert run.figures.succeeded + run.errors == 64
    assert "not in the mood" in run.recording.errors["gRPC INTERNAL"].example


@pytest.mark.parametrize("model", ["mlp", "every_dtype", "varying"])
def test_both_protocols_describe_a_model_alike(loaded, model):
    over_http = HttpControl(PerfSpec(url=loaded.http_url, model=model).address)

    assert GrpcControl(spec(loaded).address).model(model) == over_http.model(model)


def test_an_unknown_model_names_the_nearest(loaded):
    with pytest.raises(SpecError, match="no model 'mpl'") as caught:
        measure(spec(loaded, model="mpl"))

    assert caught.value.hint == "did you mean 'mlp'?"


def test_a_model_that_failed_to_load_says_why(loaded):
    with pytest.raises(ServerError, match="born broken"):
        measure(spec(loaded, model="broken"))


def test_the_http_port_is_recognised(loaded):
    with pytest.raises(TransportError, match="does not speak gRPC") as caught:
        measure(spec(loaded, url=loaded.http_url))

    assert "HTTP port" in caught.value.hint
