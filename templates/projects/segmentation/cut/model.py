"""A slice becomes tiles.

A Triton Python-backend model. In:  slice  INT16, shape (height, width).
                               Out: tiles  FP32, shape (n, 1, 128, 128),
                                    size   INT32, shape (2): height and width.
A slice that is too large fails its own request.
"""

import numpy as np
import triton_python_backend_utils as pb_utils
from tiling import cut


class TritonPythonModel:
    """Triton calls `execute` with requests that wait; each is a slice."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Cut the slice of one request."""
    image = pb_utils.get_input_tensor_by_name(request, "slice").as_numpy()
    try:
        tiles = cut(image)
    except ValueError as reason:
        error = pb_utils.TritonError(
            f"slice: {reason}", pb_utils.TritonError.INVALID_ARG
        )
        return pb_utils.InferenceResponse(error=error)
    size = np.array(image.shape, np.int32)
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("tiles", tiles), pb_utils.Tensor("size", size)]
    )
