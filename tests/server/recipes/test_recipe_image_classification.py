"""The recipe image-classification: photos to the labels of surfaces."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from project_builds import ask
from recipe_tests import RecipeTests
from tritonclient.http import InferenceServerClient, InferRequestedOutput
from tritonclient.utils import InferenceServerException

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

    def test_a_damaged_jpeg_fails_alone_beside_other_requests(self, served):
        photo = (served.folder / "samples" / "moon.jpg").read_bytes()
        pictures = [photo, photo[: len(photo) // 2], photo, b"GIF89a", photo, photo]

        address = served.server.http_url.removeprefix("http://")

        def send(picture):
            with InferenceServerClient(address) as client:
                try:
                    return ask(client, "name_surface", {"picture": [[picture]]})
                except InferenceServerException as error:
                    return str(error)

        with ThreadPoolExecutor(len(pictures)) as pool:
            whole, cut, again, other, *more = pool.map(send, pictures)

        assert "picture: the picture is damaged" in cut
        assert "picture: the bytes are neither a JPEG nor a PNG" in other
        for answer in (whole, again, *more):
            assert answer.as_numpy("surface").argmax() == 4
