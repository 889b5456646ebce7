"""Samples go on to the detector if all are numbers: NaN would stay in its state.

A Triton Python-backend model. In:  samples  FP32, shape (batch, 8, 3).
                               Out: checked  FP32, shape (batch, 8, 3).
"""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Refuse the request that has a value which is no number."""
    samples = pb_utils.get_input_tensor_by_name(request, "samples").as_numpy()
    if wrong := int((~np.isfinite(samples)).sum()):
        error = pb_utils.TritonError(
            f"samples: {wrong} of {samples.size} values are not finite numbers",
            pb_utils.TritonError.INVALID_ARG,
        )
        return pb_utils.InferenceResponse(error=error)
    return pb_utils.InferenceResponse([pb_utils.Tensor("checked", samples)])
