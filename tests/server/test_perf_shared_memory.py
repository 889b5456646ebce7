import json
import os
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from triton_kit.errors import ServerError, SpecError
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server

PROTOCOLS = ("http", "grpc")


def spec(loaded, protocol, *, output_bytes=102_400, **changes):
    fixed = {
        "url": loaded.grpc_url if protocol == "grpc" else loaded.http_url,
        "protocol": protocol,
        "model": "mlp",
        "loads": (ClosedLoad(8),),
        "request_count": 200,
        "warm_up_s": 0,
        "transport": TransportSpec(shared_memory="system", output_bytes=output_bytes),
    }
    return PerfSpec(**(fixed | changes))


def regions(loaded):
    """Return what the server itself says is registered."""
    url = f"{loaded.http_url}/v2/systemsharedmemory/status"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def own_files():
    return list(Path("/dev/shm").glob(f"triton-kit-perf-{os.getpid()}-*"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("model", ["mlp", "every_dtype"])
def test_tensors_go_through_shared_memory_and_nothing_stays(loaded, protocol, model):
    seen = []

    result = measure(
        spec(loaded, protocol, model=model, batch_size=1),
        lambda _: seen.append(regions(loaded)),
    )

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 200
    assert any(seen)
    assert regions(loaded) == []
    assert own_files() == []


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


def test_outputs_in_shared_memory_are_not_checked_silently(loaded, tmp_path):
    path = tmp_path / "data.json"
    path.write_text('{"data": [{"x": [1]}], "validation_data": [{"y": [1]}]}')

    with pytest.raises(SpecError, match="cannot be held against"):
        measure(
            spec(
                loaded,
                "http",
                model="varying",
                shapes={"x": (1,)},
                input_data=str(path),
            )
        )

    assert own_files() == []


def test_an_output_that_will_not_fit_is_known_beforehand(loaded):
    with pytest.raises(SpecError, match="'y' takes 16 bytes") as caught:
        measure(spec(loaded, "http", output_bytes=8))

    assert caught.value.hint == "--output-shared-memory-size 16, or leave it out"
    assert own_files() == []


def test_a_region_is_as_large_as_its_outputs(loaded):
    """A batch of 8 takes more than the default of outputs whose size varies."""
    [run] = measure(
        spec(loaded, "grpc", output_bytes=None, batch_size=8, request_count=20)
    ).runs

    assert run.recording.errors == {}
    assert run.recording.succeeded == 20


def test_an_output_whose_size_shows_only_later_is_counted(loaded):
    result = measure(
        spec(loaded, "http", model="varying", shapes={"x": (100,)}, output_bytes=8)
    )
    [tally] = result.runs[0].recording.errors.values()

    assert tally.count == 200
    assert "shared memory size" in tally.example


def test_memory_that_the_server_cannot_open_is_explained(loaded):
    control = HttpControl(spec(loaded, "http").address)

    with pytest.raises(ServerError, match="no-such-memory"):
        control.register_memory("lost", "/no-such-memory", 64)


def test_the_command_takes_perf_analyzers_flags(loaded, kit):
    result = kit(
        *("perf", "-m", "mlp", "-u", loaded.http_url, "--shared-memory", "system"),
        *("--output-shared-memory-size", 1024, "--request-count", 50),
    )

    assert result.exit_code == 0, result.output
    assert np.isfinite(float(result.output.splitlines()[1].split()[2].replace(",", "")))
