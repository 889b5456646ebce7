"""The second step of `chain`: gives back what it gets."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(
                        "z", pb_utils.get_input_tensor_by_name(request, "y").as_numpy()
                    )
                ]
            )
            for request in requests
        ]
