"""The classes of tiles become those of the slice.

A Triton Python-backend model. In:  classes INT32, shape (n, 128, 128),
                                    size    INT32, shape (2): height and width.
                               Out: mask    UINT8, shape (height, width).
"""

import triton_python_backend_utils as pb_utils
from tiling import join


class TritonPythonModel:
    """Triton calls `execute` with requests that wait; each is a slice."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Join the tiles of one request."""
    classes, size = (
        pb_utils.get_input_tensor_by_name(request, name).as_numpy()
        for name in ("classes", "size")
    )
    mask = pb_utils.Tensor("mask", join(classes, tuple(size)))
    return pb_utils.InferenceResponse([mask])
