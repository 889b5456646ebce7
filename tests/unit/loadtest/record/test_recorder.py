from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.request import Failure


def test_a_late_request_counts_its_wait():
    recorder = Recorder()

    recorder.times += (1_000, 51_000, 90_000, 101_000)
    recording = recorder.take()

    assert recording.latency.max_ns == 100_000
    assert recording.from_send.max_ns == 50_000
    assert recording.to_first.max_ns == 89_000
    assert recording.lag.max_ns == 50_000


def test_more_requests_than_one_batch_are_all_counted():
    recorder = Recorder()

    for start in range(10_000):
        recorder.times += (start, start, start + 5, start + 10)
        if len(recorder.times) >= Recorder.BATCH:
            recorder.count()

    assert recorder.succeeded == 10_000
    assert recorder.take().latency.counts.sum() == 10_000


def test_failures_are_counted_by_kind_with_the_first_as_example():
    recorder = Recorder()

    recorder.fail(Failure("HTTP 400", "bad shape"))
    recorder.fail(Failure("HTTP 400", "another"))
    recorder.fail(Failure("timeout"))
    recording = recorder.take()

    assert recording.failed == 3
    assert recording.errors["HTTP 400"].count == 2
    assert recording.errors["HTTP 400"].example == "bad shape"


def test_a_cut_begins_anew():
    recorder = Recorder()
    recorder.times += (0, 0, 1, 1)
    recorder.take()

    assert recorder.take().succeeded == 0
    assert recorder.finished == 0


def test_recordings_merge():
    first, second = Recorder(), Recorder()
    first.times += (0, 0, 1, 10)
    second.times += (0, 0, 1, 20)
    first.fail(Failure("timeout"))
    second.fail(Failure("timeout"))

    whole = first.take()
    whole.merge(second.take())

    assert (whole.succeeded, whole.failed) == (2, 2)
    assert whole.latency.max_ns == 20
