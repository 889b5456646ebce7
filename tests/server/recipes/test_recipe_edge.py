"""The recipe edge: pixels to labels with little memory."""

import re
import subprocess
import sys

import numpy as np
import pytest
from recipe_tests import RecipeTests, run_client

pytestmark = pytest.mark.server


class TestEdge(RecipeTests):
    recipe = "edge"

    def test_held_back_photos_get_the_right_label_as_int8(self, served):
        shown = run_client(served.folder, served.server, ["python", "score.py"])

        assert float(shown.split()[1]) >= 0.96
        model = served.folder / "model_repository" / "classify" / "1" / "model.onnx"
        assert model.stat().st_size < 70_000

    def test_a_start_takes_as_much_time_and_memory_as_stated(self, served):
        done = subprocess.run(
            [sys.executable, "measure.py"],
            cwd=served.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        found = re.search(r"after ([\d.]+) s in (\d+) proc\w+, (\d+) MB", done.stdout)
        assert found, done.stdout + done.stderr
        assert float(found[1]) < 20  # of a machine that other tests share
        assert int(found[3]) < 90

    def test_a_picture_of_another_size_fails_alone(self, served):
        error = served.refusal("classify", {"pixels": np.zeros((1, 64, 65, 3), "B")})

        assert "unexpected shape for input 'pixels'" in error
