"""The recipe text-classification: texts to topics and embeddings."""

import numpy as np
import pytest
from recipe_tests import RecipeTests

pytestmark = pytest.mark.server


class TestTextClassification(RecipeTests):
    recipe = "text-classification"

    def test_held_back_messages_get_the_right_topic(self, served):
        lines = (served.folder / "data" / "test.txt").read_text().splitlines()
        topics, texts = zip(*(line.split("\t") for line in lines), strict=True)
        names = (served.folder / "labels.txt").read_text().split()
        found = []

        for at in range(0, len(texts), 25):
            batch = [[text.encode()] for text in texts[at : at + 25]]
            response = served.ask("sort_message", {"text": batch})
            found += [names[n] for n in response.as_numpy("topic").argmax(1)]
            lengths = np.linalg.norm(response.as_numpy("sentence_embedding"), axis=1)
            np.testing.assert_allclose(lengths, 1, atol=1e-4)

        right = np.mean(np.array(topics) == found)
        assert right == pytest.approx(0.59, abs=0.011)

    def test_padding_changes_no_response(self, served):
        short, long = b"Where is my parcel now?", b"The lamp is broken. " * 8

        alone = served.ask("sort_message", {"text": [[short]]})
        padded = served.ask("sort_message", {"text": [[short], [long]]})

        for name in ("topic", "sentence_embedding"):
            np.testing.assert_allclose(
                padded.as_numpy(name)[0], alone.as_numpy(name)[0], atol=1e-5
            )

    @pytest.mark.parametrize(
        ("text", "reason"),
        [(b" \n", "text: empty"), (b"caf\xe9", "not UTF-8 at byte 3")],
    )
    def test_a_text_that_is_none_fails_alone(self, served, text, reason):
        assert reason in served.refusal("sort_message", {"text": [[text]]})

        topic = served.ask("sort_message", {"text": [[b"I forgot my password"]]})
        assert topic.as_numpy("topic").argmax() == 0
