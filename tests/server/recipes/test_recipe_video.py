"""The recipe video: frames in order to what moves."""

import importlib.util
import sys

import pytest
from recipe_tests import RecipeTests, run_client
from tritonclient.http import InferenceServerClient

pytestmark = pytest.mark.server


@pytest.fixture
def project_modules(served, monkeypatch):
    """Return a function that imports a module of the project."""
    monkeypatch.syspath_prepend(str(served.folder))

    def load(name):
        spec = importlib.util.spec_from_file_location(
            name, served.folder / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


class TestVideo(RecipeTests):
    recipe = "video"

    def test_what_moves_before_other_cameras_is_found_as_stated(self, served):
        words = ["python", "score.py", "--cameras", "3"]

        shown = run_client(served.folder, served.server, words)

        found, false = (float(line.split()[1]) for line in shown.splitlines())
        assert found >= 0.9
        assert false <= 0.02

    def test_a_slow_server_drops_frames_and_counts_them(self, served):
        words = ["python", "client.py", "--cameras", "2", "--fps", "2000"]

        shown = run_client(served.folder, served.server, words)

        for line in shown.splitlines():
            words = line.split()
            sent, made, dropped = int(words[2]), int(words[4]), int(words[7])
            assert sent < made == 50
            assert dropped <= made - sent  # those before the first one are unknown
            assert dropped >= made - sent - 5

    def test_cameras_keep_their_own_state_and_a_damaged_frame_fails_alone(
        self, served, project_modules
    ):
        footage, camera = project_modules("footage"), project_modules("camera")
        address = served.server.http_url.removeprefix("http://")
        frames = [file for file, _ in footage.footage(5, 20)]
        with InferenceServerClient(address) as client:
            one, other = camera.Camera(client, 71), camera.Camera(client, 72)
            assert one.send(1, frames[0][:200]) is None  # its sequence has not begun
            for number, file in enumerate(frames[:15], 2):
                of_one = one.send(number, file)
                of_other = other.send(3 * number, file)

            damaged = one.send(17, frames[15][:200])
            after = one.send(18, frames[15], is_last=True)

        assert (of_one.dropped, of_other.dropped) == (0, 28)
        assert of_one.box == of_other.box
        assert damaged is None
        assert after.dropped == 1
