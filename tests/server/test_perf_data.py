import json

import numpy as np
import pytest

from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec

pytestmark = pytest.mark.server


def mlp(x):
    """What the model `mlp` answers, computed here."""
    generator = np.random.default_rng(0)
    first = generator.standard_normal((16, 32), dtype=np.float32)
    second = generator.standard_normal((32, 4), dtype=np.float32)
    return np.maximum(x @ first, 0) @ second


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_wrong_responses_are_found(loaded, tmp_path, protocol, batch_size):
    x = np.random.default_rng(5).random((8, 16)).astype(np.float32)
    y = mlp(x)
    y[3] += 1
    path = tmp_path / "data.json"
    path.write_text(
        json.dumps(
            {
                "data": [{"x": row.tolist()} for row in x],
                "validation_data": [{"y": row.tolist()} for row in y],
            }
        )
    )

    result = measure(
        PerfSpec(
            url=loaded.grpc_url if protocol == "grpc" else loaded.http_url,
            protocol=protocol,
            model="mlp",
            loads=(ClosedLoad(3),),
            input_data=str(path),
            batch_size=batch_size,
            request_count=80,
            warm_up_s=0,
        )
    )
    run = result.runs[0]

    assert run.recording.errors["wrong response"].count == 10 * batch_size
    assert run.figures.succeeded == 80 - 10 * batch_size


def test_zeros_are_sent_to_a_model_that_varies(loaded):
    result = measure(
        PerfSpec(
            url=loaded.http_url,
            model="varying",
            input_data="zero",
            shapes={"x": (3,)},
            request_count=5,
            warm_up_s=0,
        )
    )

    assert result.runs[0].errors == 0


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("own", "failed"),
    [
        # The model takes 0 to 127, and text of 128 letters.
        (("int32:random:1:128", "fp16:0.7", f"string:{'x' * 128}"), 0),
        (("int32:random:128:30522", f"string:{'x' * 128}"), 9),
        (("fp16:-1", f"string:{'x' * 128}"), 9),
        (("string:short",), 9),
    ],
)
def test_each_input_gets_the_data_of_its_own(
    loaded, kit, tmp_path, protocol, own, failed
):
    out = tmp_path / "out.json"
    url = loaded.grpc_url if protocol == "grpc" else loaded.http_url
    words = [part for word in ("zero", *own) for part in ("--input-data", word)]

    result = kit(
        *("perf", "-m", "every_dtype", "-u", url, "-i", protocol, "--json", out),
        *("--request-count", 9, "--warm-up", 0, *words),
    )
    [run] = json.loads(out.read_text())["runs"]

    assert result.exit_code == (1 if failed else 0), result.output
    assert (run["requests"], run["errors"]) == (9, failed)


@pytest.mark.parametrize(
    ("option", "failed"),
    [
        (("--string-length", 128), 0),
        (("--string-length", 127), 9),
        (("--string-data", "y" * 128), 0),
        (("--string-data", "y"), 9),
    ],
)
def test_random_strings_are_what_was_asked_for(loaded, kit, tmp_path, option, failed):
    out = tmp_path / "out.json"

    kit(
        *("perf", "-m", "every_dtype", "-u", loaded.http_url, "--json", out),
        *("--request-count", 9, "--warm-up", 0, *option),
    )
    [run] = json.loads(out.read_text())["runs"]

    assert (run["requests"], run["errors"]) == (9, failed)


def test_a_value_reaches_the_model_as_it_was_written(loaded, kit, tmp_path):
    out = tmp_path / "out.json"

    result = kit(
        *("perf", "-m", "repeat", "-u", loaded.grpc_url, "-i", "grpc"),
        *("--input-data", "count:3", "--request-count", 10, "--json", out),
    )
    written = json.loads(out.read_text())

    assert result.exit_code == 0, result.output
    assert written["runs"][0]["replies"] == 30
    assert written["spec"]["input_data"] == "count:3"


def test_an_unknown_input_is_refused_before_the_first_request(loaded, kit):
    result = kit(
        *("perf", "-m", "repeat", "-u", loaded.grpc_url, "-i", "grpc"),
        *("--input-data", "cuont:3"),
    )

    assert result.exit_code == 2
    assert "did you mean 'count'?" in result.output
