"""The recipe speech: streams of sound to probabilities and events."""

import queue
import wave

import numpy as np
import pytest
from recipe_tests import RecipeTests
from tritonclient.grpc import InferenceServerClient, InferInput

pytestmark = pytest.mark.server


class Stream:
    """One gRPC stream that carries any number of sequences."""

    def __init__(self, client):
        self.client, self.events = client, queue.Queue()
        client.start_stream(lambda result, error: self.events.put((result, error)))

    def send(self, chunk, sequence, *, start=False, end=False, rate=16_000):
        samples = InferInput("samples", [1, 512], "INT16")
        samples.set_data_from_numpy(chunk[np.newaxis])
        sample_rate = InferInput("sample_rate", [1, 1], "INT32")
        sample_rate.set_data_from_numpy(np.array([[rate]], np.int32))
        flags = {"sequence_start": start, "sequence_end": end}
        self.client.async_stream_infer(
            "listen",
            [samples, sample_rate],
            request_id=str(sequence),
            sequence_id=sequence,
            **flags,
        )

    def receive(self):
        result, error = self.events.get(timeout=30)
        if error is not None:
            return error.message()
        [[event]], [[probability]] = map(result.as_numpy, ("event", "probability"))
        return result.get_response().id, event, probability


@pytest.fixture
def stream(served):
    with InferenceServerClient(served.server.grpc_url) as client:
        yield Stream(client)
        client.stop_stream()


@pytest.fixture(scope="class")
def chunks(served):
    with wave.open(str(served.folder / "samples" / "speech.wav")) as audio:
        return np.frombuffer(audio.readframes(10**6), np.int16).reshape(-1, 512)


class TestSpeech(RecipeTests):
    recipe = "speech"

    def test_three_streams_at_once_get_what_the_package_says(
        self, served, stream, chunks
    ):
        expected = np.load(served.folder / "data" / "expected.npz")
        found = {"11": [], "12": [], "13": []}

        for at, chunk in enumerate(chunks):
            for sequence in found:
                end = at == len(chunks) - 1
                stream.send(chunk, int(sequence), start=at == 0, end=end)
            for _ in found:
                sequence, *values = stream.receive()
                found[sequence].append(values)

        for values in found.values():
            events, probabilities = zip(*values, strict=True)
            assert list(events) == list(expected["event"])
            np.testing.assert_allclose(
                probabilities, expected["probability"], atol=2e-3
            )

    def test_another_sample_rate_fails_alone(self, served, stream, chunks):
        expected = np.load(served.folder / "data" / "expected.npz")["probability"]
        found = []

        for at, chunk in enumerate(chunks[:40]):
            if at == 20:
                stream.send(chunk, 21, rate=8000)
                error = stream.receive()
            stream.send(chunk, 21, start=at == 0, end=at == 39)
            found.append(stream.receive()[2])

        assert "sample_rate: 8000 Hz, expected 16000 Hz" in error
        np.testing.assert_allclose(found, expected[:40], atol=2e-3)
