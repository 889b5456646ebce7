"""The recipe recommendation: what a user took to what the user may take next."""

import numpy as np
import pytest
from recipe_tests import RecipeTests, run_client

pytestmark = pytest.mark.server


class TestRecommendation(RecipeTests):
    recipe = "recommendation"

    def test_held_back_users_take_recommended_items_as_stated(self, served):
        words = ["python", "score.py", "--users", "500"]

        shown = run_client(served.folder, served.server, words)

        model, popularity = (float(line.split()[-1]) for line in shown.splitlines())
        assert model >= 0.18
        assert model >= 10 * popularity

    def test_items_are_new_to_the_user_and_unknown_numbers_count_as_nothing(
        self, served
    ):
        history = np.full((2, 20), -1)
        history[:, :3] = 11283, 4160, 2092
        history[1, 3:5] = 25_000, 2**40

        items = served.ask("recommend", {"history": history}).as_numpy("items")

        assert len(set(items[0]) - {11283, 4160, 2092}) == 10
        assert items[0].tolist() == items[1].tolist()

    def test_the_same_history_again_comes_from_the_cache(self, served):
        history = np.load(served.folder / "samples" / "users.npz")["history"][:1]
        served.ask("recommend", {"history": history})
        before = self.hits(served)

        served.ask("recommend", {"history": history})

        assert self.hits(served) == before + 1

    @staticmethod
    def hits(served):
        [model] = served.client.get_inference_statistics("recommend")["model_stats"]
        return int(model["inference_stats"]["cache_hit"]["count"])

    def test_a_history_that_is_too_long_fails_alone(self, served):
        error = served.refusal("recommend", {"history": np.zeros((1, 21), np.int64)})

        assert "unexpected shape for input 'history'" in error
