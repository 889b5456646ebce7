import numpy as np

from triton_kit.loadtest.loops.load import RateLoad, ScheduleLoad
from triton_kit.loadtest.loops.mix import Share
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.record.recorder import Cut, Recorder
from triton_kit.loadtest.record.recording_wire import cut_from_bytes, cut_to_bytes
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.results.slo import parse_slo
from triton_kit.loadtest.run.spec_wire import spec_from_json, spec_to_json
from triton_kit.loadtest.spec import PerfSpec


def recording(seed):
    recorder = Recorder(keep_times=True)
    generator = np.random.default_rng(seed)
    for _ in range(500):
        recorder.times += np.cumsum(generator.integers(1, 10**7, 4)).tolist()
        recorder.keep_replies(list(range(len(recorder.times) % 7)))
    recorder.reply(None)
    recorder.reply(123)
    recorder.fail(Failure("timeout", "no answer"))
    return recorder.cut()


def test_a_recording_arrives_as_it_was():
    sent = Cut(recording(1), (recording(2),))

    found = cut_from_bytes(cut_to_bytes(sent))

    assert len(found.parts) == 1
    for one, other in ((sent.whole, found.whole), (sent.parts[0], found.parts[0])):
        assert other.latency.counts.tolist() == one.latency.counts.tolist()
        assert other.latency.sum_ns == one.latency.sum_ns
        assert other.lag.deviation_ns == one.lag.deviation_ns
        assert other.between.max_ns == 123
        assert (other.replies, other.errors) == (one.replies, one.errors)
        assert np.concatenate(other.times).tolist() == one.times[0].tolist()
        assert [a.tolist() for a in other.replied_at] == [
            a.tolist() for a in one.replied_at
        ]


def test_a_spec_arrives_as_it_was():
    spec = PerfSpec(
        url="x",
        models=(Share(model="a", weight=2, shapes={"x": (3,)}), Share(model="b")),
        loads=(
            RateLoad(rate_hz=5),
            ScheduleLoad(times_ns=(0, 7), is_repeated=False, name="t"),
        ),
        headers={"kind": "secret"},
        slo=parse_slo("p99<20ms"),
        parameters={"priority": 1},
    )

    assert spec_from_json(spec_to_json(spec)) == spec


def test_samples_arrive_as_they_were():
    words = np.array([b"a", b"\xff"], np.object_)
    spec = PerfSpec(
        url="x",
        model="m",
        sequences=Sequences(length=3),
        samples={"x": np.eye(3, dtype=np.float32), "words": words},
    )

    found = spec_from_json(spec_to_json(spec))

    assert found.samples["x"].tolist() == np.eye(3).tolist()
    assert found.samples["words"].tolist() == words.tolist()
    assert found.sequences == spec.sequences
