"""The recipe many-models: a vote, two versions of a model, a fallback."""

import numpy as np
import pytest
from recipe_tests import RecipeTests

import triton_kit

pytestmark = pytest.mark.server
VOTE = 0.9639  # of held-back images, as train.py prints it


def held_back(served):
    data = np.load(served.folder / "data" / "test.npz")
    return data["image"], data["label"]


def route(served, image, user):
    response = served.ask("route", {"image": image, "user": [user.encode()]})
    return response.as_numpy("served_by")[0].decode(), response


class TestManyModels(RecipeTests):
    recipe = "many-models"

    def test_three_networks_vote_on_held_back_images(self, served):
        images, labels = held_back(served)
        parts = [
            served.ask("vote_digit", {"image": images[at : at + 30]})
            for at in range(0, len(images), 30)
        ]
        digits = np.concatenate([part.as_numpy("digit") for part in parts])[:, 0]
        votes = np.concatenate([part.as_numpy("votes") for part in parts])[:, 0]

        assert np.mean(digits == labels) == pytest.approx(VOTE, abs=0.005)
        assert set(votes) <= {1, 2, 3}
        assert np.mean(digits[votes == 3] == labels[votes == 3]) > VOTE

    def test_a_fifth_of_the_users_gets_the_candidate_always_the_same(self, served):
        [image, *_], _ = held_back(served)
        users = [f"user-{number}" for number in range(100)]

        first, again = (
            [route(served, image, user)[0] for user in users] for _ in range(2)
        )

        assert first == again
        assert set(first) == {"classify/1", "classify/2"}
        assert 10 <= first.count("classify/2") <= 30

    def test_the_fallback_responds_while_a_model_is_not_there(self, served):
        images, labels = held_back(served)
        control = served.server.control
        control.unload("classify")
        try:
            found = [route(served, image, "anyone") for image in images[:40]]
        finally:
            for model in ("classify", "vote_digit"):
                control.load(model)

        right = [r.as_numpy("probabilities").argmax() for _, r in found] == labels[:40]
        assert {name for name, _ in found} == {"linear"}
        assert right.mean() > 0.7
        assert route(served, images[0], "anyone")[0].startswith("classify/")

    def test_perf_shows_the_models_that_route_calls(self, served):
        run = triton_kit.perf(
            triton_kit.PerfSpec(
                url=served.server.http_url,
                model="route",
                input_data=(str(served.folder / "samples" / "users.npz"),),
                request_count=20,
                warm_up_s=0,
            )
        ).runs[0]

        counted = {one.model: one.requests for one in run.server}
        assert counted == {"route": 20, "classify": 20, "linear": 0}

    def test_an_image_that_is_not_scaled_fails_alone(self, served):
        [image, *_], _ = held_back(served)

        error = served.refusal("route", {"image": image * 255, "user": [b"anyone"]})

        assert "image: values from 0 to 255, expected 0 to 1" in error
        assert route(served, image, "anyone")[0]
