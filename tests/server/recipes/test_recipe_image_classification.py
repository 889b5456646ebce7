"""The recipe image-classification: photos to the labels of surfaces."""

import numpy as np
import pytest
from recipe_tests import RecipeTests
from tritonclient.http import InferRequestedOutput

pytestmark = pytest.mark.server


class TestImageClassification(RecipeTests):
    recipe = "image-classification"

    def test_held_back_photos_get_the_right_label_as_int8(self, served):
        data = np.load(served.folder / "data" / "test.npz")
        files = [part.tobytes() for part in np.split(data["files"], data["ends"][:-1])]
        names = (served.folder / "labels.txt").read_text().split()
        best = [InferRequestedOutput("surface", class_count=1)]
        found = []

        for at in range(0, len(files), 30):
            batch = [[file] for file in files[at : at + 30]]
            answer = served.ask("name_surface", {"picture": batch}, outputs=best)
            found += [
                e.decode().split(":")[2] for e in answer.as_numpy("surface")[:, 0]
            ]

        right = np.mean(
            [names[n] == name for n, name in zip(data["label"], found, strict=True)]
        )
        assert right >= 0.96
        config = served.client.get_model_config("classify")
        assert config["output"][0]["label_filename"]

    def test_a_damaged_jpeg_fails_alone_in_a_batch_of_requests(self, served):
        photo = (served.folder / "samples" / "moon.jpg").read_bytes()
        whole = {"picture": [[photo]]}

        cut = served.refusal("name_surface", {"picture": [[photo[: len(photo) // 2]]]})
        other = served.refusal("name_surface", {"picture": [[b"GIF89a"]]})
        surface = served.ask("name_surface", whole).as_numpy("surface")

        assert "picture: the picture is damaged" in cut
        assert "picture: the bytes are neither a JPEG nor a PNG" in other
        assert surface.argmax() == 4
