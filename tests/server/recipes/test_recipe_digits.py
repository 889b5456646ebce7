"""The recipe digits: PNG pictures to digits."""

import numpy as np
import pytest
from recipe_tests import RecipeTests

from triton_kit.demo import png, score

pytestmark = pytest.mark.server


class TestDigits(RecipeTests):
    recipe = "digits"

    def test_held_back_pictures_are_read_right(self, served):
        data = np.load(served.folder / "data" / "test.npz")
        pictures = [png(image) for image in data["image"]]

        assert score(served.server.http_url, pictures, data["label"]) >= 0.97

    def test_bytes_that_are_no_picture_fail_alone(self, served):
        error = served.refusal("read_digit", {"png": [[b"no picture"]]})

        assert "png: the bytes are not a PNG image" in error
