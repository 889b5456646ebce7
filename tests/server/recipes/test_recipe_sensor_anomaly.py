"""The recipe sensor-anomaly: streams of sensors to scores, urgent before slow."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from project_builds import ask
from recipe_tests import RecipeTests
from tritonclient.http import InferenceServerClient

pytestmark = pytest.mark.server
CHUNK = 8


def scores(served, motor, recording):
    """Send a recording as a sequence; return the score of each chunk."""
    chunks = recording.reshape(-1, 1, CHUNK, 3)
    return np.array(
        [
            served.ask(
                "watch",
                {"samples": chunk},
                sequence_id=motor,
                sequence_start=at == 0,
                sequence_end=at == len(chunks) - 1,
            ).as_numpy("score")[0, 0]
            for at, chunk in enumerate(chunks)
        ]
    )


def seconds(action):
    started = time.monotonic()
    action()
    return time.monotonic() - started


class TestSensorAnomaly(RecipeTests):
    recipe = "sensor-anomaly"

    def test_anomalies_of_held_back_recordings_are_found(self, served):
        data = np.load(served.folder / "data" / "test.npz")
        recordings = np.concatenate([data["well"], data["broken"]])
        address = served.server.http_url.removeprefix("http://")

        def watch(motor):
            with InferenceServerClient(address) as client:
                one = type(served)(served.folder, served.server, client)
                return scores(one, motor, recordings[motor - 1])

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(watch, range(1, 17)))

        assert np.mean([part > 1 for part in found[:8]]) < 0.01
        for part, start in zip(found[8:], data["start"], strict=True):
            assert (part[start // CHUNK :] > 1).any()
            assert (part[: start // CHUNK] > 1).sum() <= 1

    def test_values_that_are_no_numbers_fail_alone(self, served):
        recording = np.load(served.folder / "data" / "test.npz")["well"][0][:400]
        expected = scores(served, 31, recording)
        broken = recording[:CHUNK].copy()
        broken[2:4, 1] = np.nan, np.inf

        head = recording.reshape(-1, 1, CHUNK, 3)
        found = []
        for at, chunk in enumerate(head):
            options = {"sequence_id": 32, "sequence_start": at == 0}
            options["sequence_end"] = at == len(head) - 1
            if at == 20:
                error = served.refusal(
                    "watch", {"samples": broken[np.newaxis]}, sequence_id=32
                )
            response = served.ask("watch", {"samples": chunk}, **options)
            found.append(response.as_numpy("score")[0, 0])

        assert "samples: 2 of 24 values are not finite numbers" in error
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_the_urgent_model_does_not_wait_for_all_reports(self, served):
        long = np.load(served.folder / "samples" / "recordings.npz")["recording"]
        chunk = long[:1, :CHUNK]
        address = served.server.http_url.removeprefix("http://")
        alone = np.median(
            [
                seconds(lambda: served.ask("report", {"recording": long}))
                for _ in range(5)
            ]
        )
        is_over = False

        def report(_):
            with InferenceServerClient(address) as client:
                count = 0
                while not is_over:
                    ask(client, "report", {"recording": long})
                    count += 1
            return count

        with ThreadPoolExecutor(8) as pool:
            reports = pool.map(report, range(8))
            waits = []
            for at in range(15):
                options = {"sequence_id": 41, "sequence_start": at == 0}
                options["sequence_end"] = at == 14
                waits.append(
                    seconds(
                        lambda options=options: served.ask(
                            "watch", {"samples": chunk}, **options
                        )
                    )
                )
            is_over = True
            done = sum(reports)

        assert done >= 8
        assert np.median(waits) < 2.5 * alone  # four reports were ready before each
