"""Probabilities of a stream become events: where speech starts and ends.

A Triton Python-backend model. In:  probability  FP32, shape (batch, 1).
                                    START, END   BOOL: the server fills them in.
                                    STREAM       UINT64: the sequence id of the stream.
                               Out: event  BYTES, shape (batch, 1): "start 1.22",
                                           "end 3.01" (seconds), or nothing.
The state of every stream is in this object (explicit state). The server sends all
requests of a stream to the same instance.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import triton_python_backend_utils as pb_utils

RATE, CHUNK = 16_000, 512
THRESHOLD = 0.5
HYSTERESIS = 0.15  # speech ends below THRESHOLD - HYSTERESIS
MIN_SILENCE = 1600  # samples: 0.1 s
PAD = 480  # samples: 30 ms more on each side
MAX_STREAMS = 1000  # clients may leave without an end: the oldest state is dropped


@dataclass
class Stream:
    """Where a stream stands, in samples from its start; 0 is not set."""

    heard: int = 0
    quiet_since: int = 0
    is_speech: bool = False

    def hear(self, probability: float) -> str:
        """Move one chunk on; return the event, or nothing."""
        self.heard += CHUNK
        if probability >= THRESHOLD:
            self.quiet_since = 0
            if not self.is_speech:
                self.is_speech = True
                return f"start {max(0, self.heard - PAD - CHUNK) / RATE:.2f}"
        elif probability < THRESHOLD - HYSTERESIS and self.is_speech:
            self.quiet_since = self.quiet_since or self.heard
            if self.heard - self.quiet_since >= MIN_SILENCE:
                end = self.quiet_since + PAD - CHUNK
                self.quiet_since, self.is_speech = 0, False
                return f"end {end / RATE:.2f}"
        return ""


class TritonPythonModel:
    """Triton calls `execute` with at most one request of each stream."""

    def initialize(self, _: "dict[str, str]") -> None:
        """Begin without streams."""
        self.streams: OrderedDict[int, Stream] = OrderedDict()

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request."""
        return [self.respond(request) for request in requests]

    def respond(
        self, request: "pb_utils.InferenceRequest"
    ) -> "pb_utils.InferenceResponse":
        """Move the stream of one request on."""
        stream = int(read(request, "STREAM"))
        if read(request, "START") or stream not in self.streams:
            self.streams[stream] = Stream()
            if len(self.streams) > MAX_STREAMS:
                self.streams.popitem(last=False)
        event = self.streams[stream].hear(float(read(request, "probability")))
        if read(request, "END"):
            del self.streams[stream]
        output = pb_utils.Tensor("event", np.array([[event.encode()]], object))
        return pb_utils.InferenceResponse([output])


def read(request: "pb_utils.InferenceRequest", name: str) -> np.generic:
    """Return the only value of an input."""
    values = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return values.reshape(-1)[0]
