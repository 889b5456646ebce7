"""Samples of 16 bits become floats, if their rate is the one of the network.

A Triton Python-backend model. In:  samples      INT16, shape (batch, 512): 32 ms.
                                    sample_rate  INT32, shape (batch, 1), in Hz.
                               Out: audio        FP32, shape (batch, 512), -1 to 1.
"""

import numpy as np
import triton_python_backend_utils as pb_utils

RATE = 16_000


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Convert one request's samples, or say which rate is expected."""
    rates = pb_utils.get_input_tensor_by_name(request, "sample_rate").as_numpy()
    if wrong := sorted(set(rates.reshape(-1).tolist()) - {RATE}):
        error = pb_utils.TritonError(
            f"sample_rate: {wrong[0]} Hz, expected {RATE} Hz: resample the audio",
            pb_utils.TritonError.INVALID_ARG,
        )
        return pb_utils.InferenceResponse(error=error)
    samples = pb_utils.get_input_tensor_by_name(request, "samples").as_numpy()
    audio = samples.astype(np.float32) / 32768
    return pb_utils.InferenceResponse([pb_utils.Tensor("audio", audio)])
