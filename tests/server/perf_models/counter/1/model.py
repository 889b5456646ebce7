"""Counts the requests of each sequence; one out of order is an error."""

import numpy as np
import triton_python_backend_utils as pb_utils


def number(request, name):
    return int(pb_utils.get_input_tensor_by_name(request, name).as_numpy().ravel()[0])


class TritonPythonModel:
    def initialize(self, args):
        self.places = {}

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        key = number(request, "ID")
        if number(request, "START"):
            self.places[key] = 0
        elif key not in self.places:
            error = pb_utils.TritonError(f"sequence {key} was never started")
            return pb_utils.InferenceResponse([], error)
        self.places[key] += 1
        place = np.array([[self.places[key]]], np.int32)
        if number(request, "END"):
            del self.places[key]
        return pb_utils.InferenceResponse([pb_utils.Tensor("place", place)])
