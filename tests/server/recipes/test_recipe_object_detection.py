"""The recipe object-detection: JPEG to JSON with a box an object."""

import json

import pytest
from recipe_tests import RecipeTests, run_client

pytestmark = pytest.mark.server


class TestObjectDetection(RecipeTests):
    recipe = "object-detection"

    def test_objects_of_held_back_scenes_are_found_as_stated(self, served):
        words = ["python", "score.py", "--scenes", "100"]

        shown = run_client(served.folder, served.server, words)

        assert float(shown.rpartition(" ")[2]) >= 0.97

    def test_pictures_of_one_batch_have_as_many_boxes_as_objects(self, served):
        five = (served.folder / "samples" / "five.jpg").read_bytes()
        none = (served.folder / "samples" / "none.jpg").read_bytes()

        response = served.ask("find_objects", {"picture": [[five], [none], [five]]})

        found = [json.loads(text) for text in response.as_numpy("objects")[:, 0]]
        assert [len(objects) for objects in found] == [5, 0, 5]
        assert found[0] == found[2]

    def test_a_damaged_jpeg_fails_alone(self, served):
        five = (served.folder / "samples" / "five.jpg").read_bytes()

        cut = served.refusal("find_objects", {"picture": [[five[: len(five) // 2]]]})
        other = served.refusal("find_objects", {"picture": [[b"\x89PNG"]]})

        assert "picture: the picture is damaged" in cut
        assert "picture: the bytes are not a JPEG" in other
        assert served.ask("find_objects", {"picture": [[five]]})
