"""Probabilities of three networks become one digit and the number that agree.

A Triton Python-backend model. In:  first, second, third  FP32, shape (batch, 10).
                               Out: digit        INT32, shape (batch, 1).
                                    probability  FP32, shape (batch, 1): the mean.
                                    votes        INT32, shape (batch, 1), 0 to 3.
"""

import numpy as np
import triton_python_backend_utils as pb_utils

VOTERS = ("first", "second", "third")


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Take the digit with the highest mean probability."""
    tensors = [pb_utils.get_input_tensor_by_name(request, name) for name in VOTERS]
    given = np.stack([tensor.as_numpy() for tensor in tensors])
    mean = given.mean(0)
    digit = mean.argmax(1, keepdims=True)
    outputs = {
        "digit": digit.astype(np.int32),
        "probability": mean.max(1, keepdims=True),
        "votes": (given.argmax(2) == digit.T).sum(0, dtype=np.int32)[:, np.newaxis],
    }
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, values) for name, values in outputs.items()]
    )
