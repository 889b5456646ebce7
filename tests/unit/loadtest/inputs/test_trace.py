import json

import pytest
from memory_transport import MemoryTransport

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.trace import read_trace, steps_from_trace
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Request
from triton_kit.tensors import Tensor, data_type
from triton_kit.triton.model import ModelInfo

MODEL = ModelInfo(
    name="m",
    version="1",
    max_batch_size=0,
    inputs=(Tensor(name="x", dtype=data_type("FP32"), shape=(2,)),),
    outputs=(),
)


def written(tmp_path, content, name="trace.jsonl"):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, list):
        path.write_text("\n".join(json.dumps(line) for line in content))
    else:
        path.write_text(json.dumps(content))
    return path


def profile(*requests):
    return {"experiments": [{"requests": list(requests)}]}


def test_lines_have_times_and_inputs(tmp_path):
    path = written(
        tmp_path,
        [
            {"at_ms": 5, "inputs": {"x": [1, 2]}},
            {"at_ms": 6.5, "inputs": {"x": {"content": [3, 4], "shape": [2]}}},
        ],
    )

    trace = read_trace(path)
    steps = steps_from_trace(path, MODEL, {})

    assert trace.has_inputs
    assert trace.load.times_ns == (0, 1_500_000)
    assert [step.inputs["x"].tolist() for step in steps] == [[1, 2], [3, 4]]


def test_a_recording_may_be_replayed_faster(tmp_path):
    path = written(tmp_path, [{"at_ms": at} for at in (0, 10, 30)])

    trace = read_trace(path, speed=2)

    assert trace.load.times_ns == (0, 5_000_000, 15_000_000)
    assert str(trace.load) == "replay trace.jsonl at 2x"
    assert not trace.has_inputs


@pytest.mark.parametrize(
    ("requests", "times"),
    [
        (({"timestamp": 900}, {"timestamp": 100}), (0, 800)),
        (({"timestamp": 9, "due": 4}, {"timestamp": 9, "due": 6}), (0, 2)),
    ],
)
def test_the_requests_of_a_profile_are_due_when_they_were(tmp_path, requests, times):
    path = written(tmp_path, profile(*requests), "profile.json")

    assert read_trace(path).load.times_ns == times


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", [], "no requests"),
        ("t.jsonl", [{"at": 1}], "line 1 has no at_ms"),
        ("t.jsonl", [3], "line 1 has no at_ms"),
        ("t.jsonl", [{"at_ms": "a"}], "is no time"),
        ("t.jsonl", [{"at_ms": -1}], "is no time"),
        ("t.jsonl", [{"at_ms": 2}, {"at_ms": 1}], "must ascend"),
        ("t.jsonl", [{"at_ms": 1, "inputs": {}}, {"at_ms": 2}], "others have none"),
        ("t.jsonl", b"{", "line 1 is no JSON"),
        ("p.json", b"\xff\xfe", "not text"),
        ("p.json", b"{", "not readable JSON"),
        ("p.json", [], "no requests|not readable"),
        ("p.json", {"runs": []}, "no profile export"),
        ("p.json", profile(), "no requests"),
        ("p.json", profile({"timestamp": True}), "is no time"),
        ("p.json", {"experiments": [profile()["experiments"][0]] * 2}, "2 loads"),
    ],
)
def test_malformed_recordings_are_refused(tmp_path, name, content, message):
    with pytest.raises(SpecError, match=message):
        read_trace(written(tmp_path, content, name))


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_an_impossible_speed_is_refused(tmp_path, speed):
    with pytest.raises(SpecError, match="replay speed"):
        read_trace(written(tmp_path, [{"at_ms": 0}]), speed=speed)


def test_inputs_that_do_not_fit_name_their_request(tmp_path):
    path = written(tmp_path, [{"at_ms": 0, "inputs": {"x": [1]}}])

    with pytest.raises(SpecError, match="step 0"):
        steps_from_trace(path, MODEL, {})


def test_each_start_begins_with_the_first_request():
    requests = [Request(b"%d" % n) for n in range(5)]
    sent = []

    class Noting(MemoryTransport):
        def send(self, slot, request):
            sent.append(request)
            super().send(slot, request)

    with Reactor() as reactor:
        engine = OpenLoop(
            reactor,
            Noting(reactor),
            requests,
            lambda: iter([0, 9]),
            most_in_flight=4,
        )
        for _ in range(2):
            engine.begin()
            reactor.run()

    assert sent == requests[:2] * 2
