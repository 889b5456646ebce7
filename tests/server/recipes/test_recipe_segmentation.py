"""The recipe segmentation: CT slices to masks, through shared memory."""

import numpy as np
import pytest
from recipe_tests import RecipeTests, run_client

pytestmark = pytest.mark.server


class TestSegmentation(RecipeTests):
    recipe = "segmentation"

    def test_masks_of_held_back_volumes_fit_as_stated(self, served):
        words = ["python", "score.py", "--volumes", "2"]

        shown = run_client(served.folder, served.server, words)

        organ, lesions = (float(line.split()[-1]) for line in shown.splitlines())
        assert organ >= 0.97
        assert lesions >= 0.88
        assert served.client.get_system_shared_memory_status() == []

    @pytest.mark.parametrize("shape", [(1, 1), (96, 97), (700, 130)])
    def test_a_mask_has_the_size_of_its_slice(self, served, shape):
        air = np.full(shape, -1000, np.int16)

        mask = served.ask("segment_slice", {"slice": air}).as_numpy("mask")

        assert mask.shape == shape
        assert not mask.any()

    def test_a_slice_with_too_many_tiles_fails_alone(self, served):
        error = served.refusal("segment_slice", {"slice": np.zeros((900, 900), "h")})

        assert "slice: 900x900 pixels need 100 tiles, the limits are 1 and 64" in error
        part = np.load(served.folder / "samples" / "part.npz")["slice"]
        assert served.ask("segment_slice", {"slice": part}).as_numpy("mask").any()
