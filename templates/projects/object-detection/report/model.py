"""Boxes of the detector become JSON, as many as there are objects.

A Triton Python-backend model. In:  boxes   FP32, shape (batch, 20, 4), in the square,
                                    scores  FP32, labels INT64, shape (batch, 20),
                                    count   INT64, shape (batch, 1),
                                    size    INT32, shape (batch, 2): width, height.
                               Out: objects BYTES, shape (batch, 1).
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

SQUARE = 128  # pixels that the longer side of the picture has for the detector
INPUTS = ("boxes", "scores", "labels", "count", "size")


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def initialize(self, _: "dict[str, str]") -> None:
        """Read the names of the classes."""
        self.names = (Path(__file__).parent / "labels.txt").read_text().split()

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [self.respond(request) for request in requests]

    def respond(
        self, request: "pb_utils.InferenceRequest"
    ) -> "pb_utils.InferenceResponse":
        """Write the objects of each picture of one request."""
        tensors = [
            pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in INPUTS
        ]
        texts = [[self.objects(*row).encode()] for row in zip(*tensors, strict=True)]
        tensor = pb_utils.Tensor("objects", np.array(texts, dtype=object))
        return pb_utils.InferenceResponse([tensor])

    def objects(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        count: np.ndarray,
        size: np.ndarray,
    ) -> str:
        """Return the objects of one picture as JSON, the highest score first."""
        inside = (boxes * size.max() / SQUARE).clip(0, np.tile(size, 2))
        return json.dumps(
            [
                {
                    "name": self.names[labels[at]],
                    "score": round(float(scores[at]), 3),
                    "box": [round(float(side), 1) for side in inside[at]],
                }
                for at in range(count[0])
            ]
        )
