"""Texts of a page become JSON in reading order.

A Triton Python-backend model. In:  texts BYTES, scores FP32, shape (n),
                                    boxes FP32, shape (n, 4),
                                    scale FP32, shape (1).
                               Out: lines BYTES, shape (1).
"""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Triton calls `execute` with requests that wait; each is a page."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Write the lines of one page, with boxes in its own pixels."""
    texts, scores, boxes, scale = (
        pb_utils.get_input_tensor_by_name(request, name).as_numpy()
        for name in ("texts", "scores", "boxes", "scale")
    )
    lines = [
        {
            "text": texts[at].decode(),
            "score": round(float(scores[at]), 3),
            "box": [round(float(side)) for side in boxes[at] / scale],
        }
        for at in reading_order(boxes)
    ]
    text = json.dumps(lines, ensure_ascii=False).encode()
    tensor = pb_utils.Tensor("lines", np.array([text], object))
    return pb_utils.InferenceResponse([tensor])


def reading_order(boxes: np.ndarray) -> "list[int]":
    """Sort from top to bottom; boxes whose middles are level, from left to right."""
    middles = (boxes[:, 1] + boxes[:, 3]) / 2
    rows: list[list[int]] = []
    for at in np.argsort(middles, kind="stable"):
        if rows and middles[at] < boxes[rows[-1][0], 3]:
            rows[-1].append(int(at))
        else:
            rows.append([int(at)])
    return [at for row in rows for at in sorted(row, key=lambda one: boxes[one, 0])]
