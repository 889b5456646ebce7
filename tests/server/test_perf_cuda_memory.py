"""Tensors in a GPU's memory, shared with the real server; most of it needs a GPU."""

import json
import urllib.request

import pytest

from triton_kit.errors import ServerError, SpecError
from triton_kit.loadtest.client.control_grpc import GrpcControl
from triton_kit.loadtest.client.cuda_runtime import find_cuda_runtime
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server

PROTOCOLS = ("http", "grpc")


def has_gpu():
    try:
        find_cuda_runtime()
    except SpecError:
        return False
    return True


with_gpu = pytest.mark.skipif(not has_gpu(), reason="needs a GPU and a CUDA runtime")
without_gpu = pytest.mark.skipif(has_gpu(), reason="there is a GPU")


def spec(loaded, protocol, *, output_bytes=102_400, **changes):
    fixed = {
        "url": loaded.grpc_url if protocol == "grpc" else loaded.http_url,
        "protocol": protocol,
        "model": "mlp",
        "loads": (ClosedLoad(8),),
        "request_count": 200,
        "warm_up_s": 0,
        "transport": TransportSpec(shared_memory="cuda", output_bytes=output_bytes),
    }
    return PerfSpec(**(fixed | changes))


def regions(loaded):
    """Return what the server itself says is registered."""
    url = f"{loaded.http_url}/v2/cudasharedmemory/status"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def counted(loaded):
    url = f"{loaded.http_url}/v2/models/mlp/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["model_stats"][0]["inference_count"]


@with_gpu
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("model", ["mlp", "every_dtype"])
def test_tensors_go_through_gpu_memory_and_nothing_stays(loaded, protocol, model):
    seen = []

    result = measure(
        spec(loaded, protocol, model=model), lambda _: seen.append(regions(loaded))
    )

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 200
    assert any(seen)
    assert regions(loaded) == []


@with_gpu
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_model_gets_the_values_that_were_placed(loaded, protocol, tmp_path):
    values = [float(number) for number in range(7)]
    data = {
        "data": [{"x": {"content": values, "shape": [7]}}],
        "validation_data": [{"y": {"content": values[:], "shape": [7]}}],
    }
    path = tmp_path / "data.json"
    path.write_text(json.dumps(data))
    same = {"model": "varying", "shapes": {"x": (7,)}, "input_data": str(path)}

    right = measure(spec(loaded, protocol, output_bytes=0, **same))
    data["validation_data"][0]["y"]["content"][3] = 99.0
    path.write_text(json.dumps(data))
    wrong = measure(spec(loaded, protocol, output_bytes=0, **same))

    assert right.runs[0].recording.errors == {}
    assert list(wrong.runs[0].recording.errors) == ["wrong response"]


@with_gpu
def test_the_command_takes_perf_analyzers_flag(loaded, kit):
    result = kit(
        *("perf", "-m", "mlp", "-u", loaded.http_url, "--shared-memory", "cuda"),
        *("--output-shared-memory-size", 1024, "--request-count", 50),
    )

    assert result.exit_code == 0, result.output


@without_gpu
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_a_gpu_there_is_an_error_before_the_first_request(
    loaded, kit, protocol
):
    before = counted(loaded)
    url = loaded.grpc_url if protocol == "grpc" else loaded.http_url

    result = kit(
        *("perf", "-m", "mlp", "-u", url, "-i", protocol, "--shared-memory", "cuda")
    )

    assert result.exit_code == 2
    assert "--shared-memory cuda: no " in result.output
    assert "--shared-memory system" in result.output
    assert counted(loaded) == before


@pytest.mark.parametrize("control_of", [HttpControl, GrpcControl])
def test_memory_that_the_server_cannot_open_is_explained(loaded, control_of):
    protocol = "grpc" if control_of is GrpcControl else "http"
    control = control_of(spec(loaded, protocol).address)

    with pytest.raises(ServerError, match="failed to"):
        control.register_cuda_memory("lost", bytes(64), 0, 64)

    assert regions(loaded) == []
