"""Say which columns raised or lowered a patient's risk most.

A Triton Python-backend model. In:  the columns of `risk`, each of shape (batch, 1),
                                    and its probabilities, FP32, shape (batch, 2).
                               Out: reasons  BYTES, shape (batch, 3): "bmi +0.21".
For each column it asks `risk` once more, with the median patient's value in its place:
the difference is what the column did. All of a request's questions are one call.
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

RISK = "risk"
REASONS = 3


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def initialize(self, _: "dict[str, str]") -> None:
        """Read the median patient."""
        text = (Path(__file__).parent / "reference.json").read_text()
        self.reference = json.loads(text)

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [self.respond(request) for request in requests]

    def respond(
        self, request: "pb_utils.InferenceRequest"
    ) -> "pb_utils.InferenceResponse":
        """Explain the rows of one request."""
        given = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        before = given.pop("probabilities")[:, 1]
        asked = pb_utils.InferenceRequest(
            model_name=RISK,
            requested_output_names=["probabilities"],
            inputs=[pb_utils.Tensor(name, rows) for name, rows in self.changed(given)],
        )
        answered = asked.exec()
        if answered.has_error():
            return pb_utils.InferenceResponse(error=answered.error())
        tensor = pb_utils.get_output_tensor_by_name(answered, "probabilities")
        after = tensor.as_numpy()[:, 1].reshape(len(given), len(before))
        texts = [explain(list(given), column) for column in (before - after).T]
        reasons = pb_utils.Tensor("reasons", np.array(texts, dtype=object))
        return pb_utils.InferenceResponse([reasons])

    def changed(self, given: "dict[str, np.ndarray]") -> "list[tuple[str, np.ndarray]]":
        """Repeat the rows once per column, with that column's value exchanged."""
        found = []
        for name, values in given.items():
            usual = self.reference[name]
            value = usual.encode() if isinstance(usual, str) else usual
            parts = [
                np.full_like(values, value) if name == exchanged else values
                for exchanged in given
            ]
            found.append((name, np.concatenate(parts)))
        return found


def explain(columns: "list[str]", effects: np.ndarray) -> "list[bytes]":
    """Return the columns with the largest effects on one row, the largest first."""
    order = np.argsort(-np.abs(effects), kind="stable")[:REASONS]
    return [f"{columns[at]} {effects[at]:+.2f}".encode() for at in order]
