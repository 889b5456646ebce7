"""Replies as often as it is asked to; more than 100 times is an error."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            self.reply(request)

    def reply(self, request):
        sender = request.get_response_sender()
        count = int(
            pb_utils.get_input_tensor_by_name(request, "count").as_numpy().ravel()[0]
        )
        if count > 100:
            error = pb_utils.TritonError(f"{count} replies are too many")
            sender.send(pb_utils.InferenceResponse([], error))
        else:
            for index in range(count):
                tensor = pb_utils.Tensor("index", np.array([index], np.int32))
                sender.send(pb_utils.InferenceResponse([tensor]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
