"""The recipe real-time: control goes first, and what is late is rejected."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from project_builds import ask
from recipe_tests import RecipeTests
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.server
CONTROL = 1


@pytest.fixture
def flood(served):
    """Keep the queue of priority 2 full; return the responses, as they come."""
    address = served.server.http_url.removeprefix("http://")
    frames = np.load(served.folder / "samples" / "frames.npz")["frame"][:4]
    found, is_over = [], False

    def send(_):
        with InferenceServerClient(address) as client:
            while not is_over:
                started = time.monotonic()
                try:
                    ask(client, "track", {"frame": frames})
                    found.append(time.monotonic() - started)
                except InferenceServerException as error:
                    found.append(str(error))
                    time.sleep(0.05)

    with ThreadPoolExecutor(40) as pool:
        running = pool.map(send, range(40))
        deadline = time.monotonic() + 20
        while len(found) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        yield found
        is_over = True
        list(running)


class TestRealTime(RecipeTests):
    recipe = "real-time"

    def test_the_ball_is_found_on_held_back_frames(self, served):
        data = np.load(served.folder / "data" / "test.npz")
        parts = [
            served.ask("track", {"frame": data["frame"][at : at + 6]})
            for at in range(0, 60, 6)
        ]
        found = np.concatenate([part.as_numpy("centre") for part in parts])

        missed = np.hypot(*(found - data["centre"]).T)
        assert missed.mean() < 1.5
        assert (missed < 3).mean() > 0.95

    def test_control_goes_first_and_late_requests_are_rejected(self, served, flood):
        frame = np.load(served.folder / "samples" / "one.npz")["frame"]

        waits = []
        for _ in range(20):
            started = time.monotonic()
            served.ask("track", {"frame": frame}, priority=CONTROL)
            waits.append(time.monotonic() - started)
        error = served.refusal("track", {"frame": frame}, priority=CONTROL, timeout=1)

        late = [one for one in flood if isinstance(one, float)]
        rejected = [one for one in flood if isinstance(one, str)]
        # Without priorities both wait as long; other work on the machine adds to both.
        assert np.median(waits) < np.median(late) / 1.5
        assert "Request timeout expired" in error
        assert rejected
        assert all("Exceeds maximum queue size" in text for text in rejected)

    def test_a_frame_of_another_size_fails_alone(self, served):
        error = served.refusal("track", {"frame": np.zeros((1, 1, 48, 48), np.uint8)})

        assert "unexpected shape for input 'frame'" in error
