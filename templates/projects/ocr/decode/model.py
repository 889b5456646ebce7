"""The bytes of a page become the tensors of the text detector.

A Triton Python-backend model. In:  file   BYTES, shape (1).
                               Out: pixels UINT8, shape (height, width, 3),
                                    image  FP32, shape (1, 3, height, width),
                                    scale  FP32, shape (1).
A damaged file fails its own request.
"""

import numpy as np
import triton_python_backend_utils as pb_utils
from pixels import decode, normalized


class TritonPythonModel:
    """Triton calls `execute` with requests that wait; each is a page."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Decode the page of one request."""
    [file] = pb_utils.get_input_tensor_by_name(request, "file").as_numpy()
    try:
        page, scale = decode(file)
    except ValueError as reason:
        error = pb_utils.TritonError(
            f"file: {reason}", pb_utils.TritonError.INVALID_ARG
        )
        return pb_utils.InferenceResponse(error=error)
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("pixels", page),
            pb_utils.Tensor("image", normalized(page)[np.newaxis]),
            pb_utils.Tensor("scale", np.array([scale], np.float32)),
        ]
    )
