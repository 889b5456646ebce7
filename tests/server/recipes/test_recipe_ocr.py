"""The recipe ocr: pages to lines, with the networks of a package."""

import json
import sys

import pytest
from recipe_tests import RecipeTests, run_client
from test_shipped_networks import unpacked

pytestmark = pytest.mark.server


class TestOcr(RecipeTests):
    recipe = "ocr"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def package(cls):
        """Let the build find the package, as if it were installed."""
        folder = str(unpacked("rapidocr-onnxruntime==1.4.4"))
        sys.path.insert(0, folder)
        yield
        sys.path.remove(folder)

    def test_made_pages_are_read_as_stated(self, served):
        words = ["python", "score.py", "--pages", "2"]

        shown = run_client(served.folder, served.server, words)

        assert float(shown.split()[3]) <= 0.01

    def test_a_page_without_text_has_no_lines(self, served):
        from PIL import Image

        file = served.folder / "white.png"
        Image.new("RGB", (50, 40), "white").save(file)

        response = served.ask("read_page", {"file": [file.read_bytes()]})

        assert json.loads(response.as_numpy("lines")[0]) == []

    def test_a_damaged_page_fails_alone(self, served):
        page = (served.folder / "samples" / "page.jpg").read_bytes()

        cut = served.refusal("read_page", {"file": [page[: len(page) // 2]]})
        other = served.refusal("read_page", {"file": [b"%PDF-1.7"]})

        assert "file: the page is damaged" in cut
        assert "file: the bytes are neither a JPEG nor a PNG" in other
        assert served.ask("read_page", {"file": [page]})
