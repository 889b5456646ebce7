"""The recipe tabular: typed columns to a risk with its reasons."""

import numpy as np
import pytest
from recipe_tests import RecipeTests

pytestmark = pytest.mark.server


def auc(scores, labels):
    """Return how often a patient with label 1 scores above one with label 0."""
    high, low = scores[labels == 1], scores[labels == 0]
    return np.mean(high[:, None] > low) + np.mean(high[:, None] == low) / 2


def held_back(served):
    columns = dict(np.load(served.folder / "data" / "test.npz"))
    return columns, columns.pop("label")


class TestTabular(RecipeTests):
    recipe = "tabular"

    def test_held_back_patients_are_ranked_as_stated(self, served):
        columns, labels = held_back(served)
        parts = [
            served.ask("score", {k: v[at : at + 16] for k, v in columns.items()})
            for at in range(0, len(labels), 16)
        ]
        scores = np.concatenate([part.as_numpy("probabilities") for part in parts])

        assert auc(scores[:, 1], labels) == pytest.approx(0.792, abs=0.005)

    def test_reasons_are_what_the_model_says_without_a_column(self, served):
        columns, _ = held_back(served)
        row = {name: values[:1] for name, values in columns.items()}
        response = served.ask("score", row)
        name, effect = response.as_numpy("reasons")[0, 0].decode().split()
        usual = {"age": 51, "bmi": 25.7, "pressure": 93, "triglycerides": 4.61015}
        usual |= {"glucose": 91.5, "sex": b"f"}

        changed = row | {name: np.full_like(row[name], usual[name])}
        without = served.ask("risk", changed).as_numpy("probabilities")[0, 1]

        found = response.as_numpy("probabilities")[0, 1] - without
        assert found == pytest.approx(float(effect), abs=0.01)

    def test_a_request_without_a_column_fails_alone(self, served):
        columns, _ = held_back(served)
        row = {name: values[:1] for name, values in columns.items()}

        error = served.refusal("score", {k: v for k, v in row.items() if k != "bmi"})

        assert "expected 6 inputs but got 5" in error
        assert served.ask("score", row).as_numpy("reasons").shape == (1, 3)
