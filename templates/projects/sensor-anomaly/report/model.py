"""The spectrum of a long recording, for a report: slow, and not urgent.

A Triton Python-backend model. In:  recording  FP32, shape (batch, 512, 3), at 100 Hz.
                               Out: peak_hz    FP32, shape (batch, 3): the strongest
                                               frequency of each channel.
"""

import numpy as np
import triton_python_backend_utils as pb_utils

RATE = 100
FREQUENCIES = np.arange(0.1, 50, 0.05)  # Hz


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(request: "pb_utils.InferenceRequest") -> "pb_utils.InferenceResponse":
    """Correlate the recordings of one request with each frequency."""
    given = pb_utils.get_input_tensor_by_name(request, "recording").as_numpy()
    centred = given - given.mean(1, keepdims=True)
    time = np.arange(given.shape[1]) / RATE
    waves = np.exp(-2j * np.pi * FREQUENCIES[:, np.newaxis] * time)
    power = np.abs(np.einsum("ft,btc->bfc", waves, centred))
    peaks = FREQUENCIES[power.argmax(1)].astype(np.float32)
    return pb_utils.InferenceResponse([pb_utils.Tensor("peak_hz", peaks)])
