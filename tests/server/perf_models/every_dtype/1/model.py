"""Takes one input of every dtype, and fails unless each holds what it should."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        for tensor in request.inputs():
            if tensor.name() == "bf16":  # NumPy has no such dtype
                continue
            array = tensor.as_numpy()
            assert array.shape == (1, 3, 2), (tensor.name(), array.shape)
            if tensor.name() == "string":
                strings = array
            else:
                assert array.astype(np.float64).min() >= 0, tensor.name()
                assert array.astype(np.float64).max() <= 127, tensor.name()
        assert all(len(item) == 128 for item in strings.ravel())
        return pb_utils.InferenceResponse([pb_utils.Tensor("strings", strings)])
