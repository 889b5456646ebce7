import json

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec

pytestmark = pytest.mark.server


def spec(loaded, endpoint, **changes):
    fixed = {
        "url": loaded.http_url,
        "model": "varying",
        "shapes": {"x": (3,)},
        "loads": (ClosedLoad(4),),
        "request_count": 40,
        "warm_up_s": 0,
        "transport": TransportSpec(endpoint=endpoint),
    }
    return PerfSpec(**(fixed | changes))


def counts(tmp_path, *numbers):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({"data": [{"count": [number]} for number in numbers]}))
    return str(path)


def test_generate_takes_plain_json(loaded):
    result = measure(spec(loaded, "generate"))

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 40
    assert result.runs[0].recording.responses == 0


def test_every_event_of_a_stream_is_counted_and_timed(loaded, tmp_path):
    result = measure(
        spec(
            loaded,
            "generate_stream",
            model="repeat",
            shapes={},
            input_data=counts(tmp_path, 1, 5, 50),
            request_count=30,
        )
    )
    recording = result.runs[0].recording

    assert recording.errors == {}
    assert recording.succeeded == 30
    assert recording.responses == 560
    assert recording.between.count == 560 - 30  # the first of a stream has no gap
    assert recording.to_first.max_ns <= recording.latency.max_ns
    assert recording.to_first.mean_ns < recording.latency.mean_ns


def test_an_error_within_a_stream_is_counted(loaded, tmp_path):
    result = measure(
        spec(
            loaded,
            "generate_stream",
            model="repeat",
            shapes={},
            input_data=counts(tmp_path, 3, 101),
            request_count=10,
        )
    )
    run = result.runs[0]
    [tally] = run.recording.errors.values()

    assert run.figures.succeeded == 5
    assert tally.count == 5
    assert "too many" in tally.example


def test_a_model_with_one_response_may_be_streamed(loaded):
    result = measure(spec(loaded, "generate_stream"))

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].recording.responses == 40


def test_a_decoupled_model_is_pointed_to_the_stream(loaded):
    with pytest.raises(SpecError, match="decoupled") as caught:
        measure(spec(loaded, "generate", model="repeat", shapes={}))

    assert "generate_stream" in caught.value.hint


def expecting(tmp_path, field, right, wrong, **inputs):
    """Data of four equal steps, of which one is expected to give something else."""
    path = tmp_path / "expecting.json"
    expected = [{field: right}] * 3 + [{field: wrong}]
    document = {"data": [inputs] * 4, "validation_data": expected}
    path.write_text(json.dumps(document))
    return str(path)


def test_responses_of_generate_are_held_against_what_is_expected(loaded, tmp_path):
    data = expecting(tmp_path, "y", [1.5, 2.5, -1], [1.5, 2.5, 1], x=[1.5, 2.5, -1])

    result = measure(spec(loaded, "generate", input_data=data))
    [run] = result.runs

    assert run.figures.succeeded == 30
    assert run.recording.errors["wrong response"].count == 10
    assert "expected 1" in run.recording.errors["wrong response"].example


@pytest.mark.parametrize("over", ["http", "grpc"])
def test_the_messages_of_a_stream_are_checked_as_one_response(loaded, tmp_path, over):
    data = expecting(tmp_path, "index", [0, 1, 2], [0, 1, 3], count=[3])
    asked = {"model": "repeat", "shapes": {}, "input_data": data}
    if over == "grpc":
        asked |= {"protocol": "grpc", "url": loaded.grpc_url}

    result = measure(
        spec(loaded, "infer" if over == "grpc" else "generate_stream", **asked)
    )
    [run] = result.runs

    assert run.figures.succeeded == 30
    assert run.recording.errors["wrong response"].count == 10
    assert run.recording.responses == 120


def test_a_stream_that_ends_early_is_a_wrong_response(loaded, tmp_path):
    data = expecting(tmp_path, "index", [0, 1], [0, 1, 2], count=[2])

    result = measure(
        spec(loaded, "generate_stream", model="repeat", shapes={}, input_data=data)
    )

    assert result.runs[0].recording.errors["wrong response"].count == 10
    assert result.runs[0].figures.succeeded == 30


def test_what_generate_cannot_carry_is_refused(loaded):
    with pytest.raises(SpecError, match="one inference per request"):
        measure(spec(loaded, "generate", model="mlp", shapes={}, batch_size=2))
    with pytest.raises(SpecError, match="over HTTP only"):
        measure(spec(loaded, "generate", protocol="grpc", url=loaded.grpc_url))
    with pytest.raises(SpecError, match="responses of generate are not compressed"):
        TransportSpec(endpoint="generate", accept_compression="gzip")


def test_the_command_streams(loaded, kit, tmp_path):
    out, profile = tmp_path / "out.json", tmp_path / "profile.json"
    result = kit(
        *("perf", "-m", "repeat", "-u", loaded.http_url, "--request-count", 10),
        *("--endpoint", "generate_stream", "--input-data", counts(tmp_path, 4)),
        *("--json", out, "--profile-export-file", profile),
    )
    [run] = json.loads(out.read_text())["runs"]
    [experiment] = json.loads(profile.read_text())["experiments"]

    assert result.exit_code == 0, result.output
    assert run["replies"] == 40
    assert run["between_replies_us"]["p50"] >= 0
    assert run["first_byte_us"]["p50"] <= run["latency_us"]["p50"]
    replies = [request["response_timestamps"] for request in experiment["requests"]]
    assert [len(times) for times in replies] == [4] * 10
