"""JPEG bytes of a frame become the tensor that the tracker takes.

A Triton Python-backend model. In:  picture  BYTES, shape (batch, 1).
                               Out: frame    FP32, shape (batch, 3, 96, 128).
A damaged frame fails its own request; its camera goes on with the next one.
"""

import numpy as np
import triton_python_backend_utils as pb_utils
from pixels import decode


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Decode the frames of one request."""
    files = pb_utils.get_input_tensor_by_name(request, "picture").as_numpy()
    try:
        frames = np.stack([decode(file) for file in files.reshape(-1)])
    except ValueError as reason:
        error = pb_utils.TritonError(
            f"picture: {reason}", pb_utils.TritonError.INVALID_ARG
        )
        return pb_utils.InferenceResponse(error=error)
    return pb_utils.InferenceResponse([pb_utils.Tensor("frame", frames)])
