"""JPEG bytes become the image tensor of the detector.

A Triton Python-backend model. In:  picture  BYTES, shape (batch, 1).
                               Out: image    UINT8, shape (batch, 128, 128, 3),
                                    size     INT32, shape (batch, 2): width, height.
A damaged picture fails its own request and leaves the others of the batch alone.
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
    """Decode the pictures of one request."""
    files = pb_utils.get_input_tensor_by_name(request, "picture").as_numpy()
    try:
        decoded = [decode(file) for file in files.reshape(-1)]
    except ValueError as reason:
        error = pb_utils.TritonError(
            f"picture: {reason}", pb_utils.TritonError.INVALID_ARG
        )
        return pb_utils.InferenceResponse(error=error)
    images = np.stack([image for image, _ in decoded])
    sizes = np.array([size for _, size in decoded], np.int32)
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("image", images), pb_utils.Tensor("size", sizes)]
    )
