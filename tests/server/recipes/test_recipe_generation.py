"""The recipe generation: dates as a stream of characters."""

import json
import queue
import urllib.error
import urllib.request

import numpy as np
import pytest
from recipe_tests import RecipeTests
from tritonclient.grpc import InferenceServerClient, InferInput

import triton_kit

pytestmark = pytest.mark.server


def stream(server, text):
    """Return the text of the events of generate_stream, joined."""
    body = json.dumps({"text": text}).encode()
    url = f"{server.http_url}/v2/models/generate/generate_stream"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        lines = [line for line in response.read().decode().split("\n") if line.strip()]
    events = [json.loads(line.removeprefix("data:")) for line in lines]
    errors = [event["error"] for event in events if "error" in event]
    return errors[0] if errors else "".join(event["token"] for event in events)


class TestGeneration(RecipeTests):
    recipe = "generation"

    def test_held_back_dates_are_written_right(self, served):
        lines = (served.folder / "data" / "test.jsonl").read_text().splitlines()
        made = [json.loads(line) for line in lines[:60]]

        right = [stream(served.server, one["text"]) == one["date"] for one in made]

        assert np.mean(right) >= 0.95

    def test_grpc_streams_end_and_bad_texts_fail_alone(self, served):
        events = queue.Queue()
        texts = {"good": b"3 March 2021", "empty": b" ", "long": b"3 " * 40}
        with InferenceServerClient(served.server.grpc_url) as client:
            client.start_stream(lambda result, error: events.put((result, error)))
            for name, text in texts.items():
                given = InferInput("text", [1], "BYTES")
                given.set_data_from_numpy(np.array([text], object))
                client.async_stream_infer("generate", [given], request_id=name)
            found = [events.get(timeout=30) for _ in range(12)]
            client.stop_stream()

        tokens = [r.as_numpy("token")[0] for r, error in found if error is None]
        errors = sorted(str(error) for _, error in found if error is not None)
        assert b"".join(tokens) == b"2021-03-03"
        assert "text: 80 characters, at most 32" in errors[0]
        assert "text: empty" in errors[1]

    def test_perf_reports_the_time_to_the_first_token(self, served):
        run = triton_kit.perf(
            triton_kit.PerfSpec(
                url=served.server.grpc_url,
                protocol="grpc",
                model="generate",
                input_data=(str(served.folder / "samples" / "dates.json"),),
                request_count=20,
                warm_up_s=0,
            )
        ).runs[0]

        assert run.recording.errors == {}
        assert run.recording.responses >= 200
        assert run.recording.to_first.mean_ns < run.recording.latency.mean_ns
