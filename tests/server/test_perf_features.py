import json

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.loops.mix import ModelShare
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.results.export import as_profile
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec

pytestmark = pytest.mark.server


def spec(loaded, protocol, **changes):
    url = loaded.grpc_url if protocol == "grpc" else loaded.http_url
    fixed = {"url": url, "protocol": protocol, "model": "mlp", "warm_up_s": 0}
    return PerfSpec(**(fixed | changes))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_sequences_reach_the_model_in_order(loaded, protocol):
    result = measure(
        spec(
            loaded,
            protocol,
            model="counter",
            loads=(ClosedLoad(1), ClosedLoad(4)),
            sequences=Sequences(length=5, variation=0.4, first_id=100),
            request_count=80,
        )
    )

    assert [run.recording.errors for run in result.runs] == [{}, {}]
    assert [run.figures.succeeded for run in result.runs] == [80, 80]


@pytest.mark.parametrize("rate_hz", [200, 4000])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_sequences_reach_the_model_in_order_at_times_of_their_own(
    loaded, protocol, rate_hz
):
    result = measure(
        spec(
            loaded,
            protocol,
            model="counter",
            loads=(RateLoad(rate_hz=rate_hz, distribution="poisson"),),
            sequences=Sequences(length=5, variation=0.4, first_id=200, at_a_time=3),
            request_count=150,
        )
    )
    [run] = result.runs

    assert run.recording.errors == {}
    assert run.figures.succeeded == 150
    assert sum(stats.requests for stats in run.server) == 150


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("load", [ClosedLoad(4), RateLoad(rate_hz=1000)], ids=str)
def test_sequences_that_are_cut_short_do_not_hold_up_the_next_load(
    loaded, load, processes
):
    def run(first_id):
        cut_short = Sequences(length=1000, first_id=first_id)
        changes = {"sequences": cut_short, "processes": processes, "loads": (load,)}
        # The model takes 4 sequences, and keeps them until they are idle for 60 s.
        changes |= {"request_count": 40, "request_timeout_s": 10}
        [run] = measure(spec(loaded, "grpc", model="counter", **changes)).runs
        return run

    for first_id in (1000, 2000):
        measured = run(first_id)

        assert measured.recording.errors == {}
        # Where nothing ended for a while, the four ends were sent within the load.
        assert sum(stats.requests for stats in measured.server) in (40, 44)


def test_the_ends_of_sequences_are_awaited_however_short_the_drain(loaded):
    def run(first_id):
        changes = {"loads": (RateLoad(rate_hz=1000),), "drain_within_s": 1e-6}
        changes["sequences"] = Sequences(length=1000, first_id=first_id, at_a_time=4)
        changes |= {"request_count": 8, "request_timeout_s": 5}
        [run] = measure(spec(loaded, "grpc", model="counter", **changes)).runs
        return run.recording.errors.keys()

    # What is left when the drain is over counts as unanswered, and nothing else does.
    assert run(4000) | run(5000) | run(6000) <= {"no response"}


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("load", "request_count"),
    [(ClosedLoad(8), 40), (ClosedLoad(8), None), (RateLoad(rate_hz=1000), 60)],
    ids=str,
)
def test_more_sequences_than_the_server_has_places_wait_for_the_others_to_end(
    loaded, load, request_count, processes
):
    [run] = measure(
        spec(
            loaded,
            "grpc",
            model="counter",  # takes 4 sequences
            sequences=Sequences(length=10, first_id=3000, at_a_time=8),
            processes=processes,
            loads=(load,),
            request_count=request_count,
            measurement_interval_s=0.5,
            request_timeout_s=20,
        )
    ).runs

    assert run.recording.errors == {}
    if request_count is not None:
        assert run.recording.succeeded == request_count


@pytest.mark.parametrize("sequences", [None, Sequences(first_id=700)])
def test_a_stateful_model_gets_sequences_without_asking(loaded, sequences):
    result = measure(
        spec(loaded, "grpc", model="counter", sequences=sequences, request_count=60)
    )

    assert result.runs[0].recording.errors == {}
    assert result.spec["sequences"]["length"] is None


def test_a_stateful_model_beside_another_is_refused(loaded):
    shares = (ModelShare(model="counter", weight=1), ModelShare(model="mlp", weight=1))

    with pytest.raises(SpecError, match="keeps state"):
        measure(spec(loaded, "http", model="", models=shares))


def test_a_model_without_state_gets_no_sequences_unless_asked_for(loaded):
    numbered = Sequences(first_id=700)

    result = measure(spec(loaded, "http", sequences=numbered, request_count=5))

    assert result.spec["sequences"] is None


@pytest.mark.parametrize("processes", [1, 2])
def test_each_sequence_is_a_stream_of_the_data(loaded, tmp_path, processes):
    # The model tells the place in the sequence, which no border may shift.
    document = {
        "data": [[{"x": [1]}, {"x": [2]}, {"x": [3]}], [{"x": [4]}]],
        "validation_data": [
            [{"place": [1]}, {"place": [2]}, {"place": [3]}],
            [{"place": [1]}],
        ],
    }
    path = tmp_path / "streams.json"
    path.write_text(json.dumps(document))

    [run] = measure(
        spec(
            loaded,
            "http",
            model="counter",
            loads=(ClosedLoad(3),),
            input_data=str(path),
            request_count=60,
            processes=processes,
        )
    ).runs

    assert run.recording.errors == {}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_request_parameters_are_accepted(loaded, protocol):
    result = measure(
        spec(
            loaded,
            protocol,
            parameters={"priority": 0, "note": "x", "flag": True},
            request_count=10,
        )
    )

    assert result.runs[0].recording.errors == {}


def counts(tmp_path, *numbers):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({"data": [{"count": [number]} for number in numbers]}))
    return str(path)


def test_every_reply_of_a_decoupled_model_is_counted(loaded, tmp_path):
    result = measure(
        spec(
            loaded,
            "grpc",
            model="repeat",
            input_data=counts(tmp_path, 0, 1, 5, 50),
            loads=(ClosedLoad(3),),
            request_count=40,
        )
    )
    recording = result.runs[0].recording

    assert recording.errors == {}
    assert recording.succeeded == 40
    assert recording.responses == 560
    assert recording.between.count == 560 - 30  # the first of a stream has no gap
    assert recording.to_first.max_ns <= recording.latency.max_ns


@pytest.mark.parametrize("processes", [1, 2])
def test_the_profile_has_every_reply_of_every_good_stream(loaded, tmp_path, processes):
    result = measure(
        spec(
            loaded,
            "grpc",
            model="repeat",
            input_data=counts(tmp_path, 0, 1, 5, 101),  # 101 are refused
            loads=(ClosedLoad(4),),
            request_count=40,
            processes=processes,
            keep_times=True,
        )
    )
    [experiment] = json.loads(as_profile(result))["experiments"]
    requests = experiment["requests"]
    replies = [request["response_timestamps"] for request in requests]

    assert len(requests) == result.runs[0].figures.succeeded
    assert {len(times) for times in replies} == {0, 1, 5}
    assert sum(map(len, replies)) == 60
    for request, times in zip(requests, replies, strict=True):
        assert times == sorted(times)
        assert all(at_ns >= request["first_byte"] for at_ns in times)
        assert not times or request["first_byte"] == times[0]


def test_an_error_in_a_stream_is_counted(loaded, tmp_path):
    result = measure(
        spec(
            loaded,
            "grpc",
            model="repeat",
            input_data=counts(tmp_path, 3, 101),
            request_count=10,
        )
    )
    [run] = result.runs

    assert run.figures.succeeded == 5
    assert run.recording.errors["stream error"].count == 5
    assert "too many" in run.recording.errors["stream error"].example


def test_a_model_with_one_response_may_be_streamed(loaded):
    result = measure(spec(loaded, "grpc", streaming=True, request_count=20))

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].recording.responses == 20


def test_http_cannot_carry_a_decoupled_model(loaded):
    with pytest.raises(SpecError, match="decoupled"):
        measure(spec(loaded, "http", model="repeat"))
