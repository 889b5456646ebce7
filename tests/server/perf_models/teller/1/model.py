"""Sends as many words as it is asked for, one every 10 ms, as a language model does."""

import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils

INTERVAL_S = 0.01


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            count = pb_utils.get_input_tensor_by_name(request, "max_tokens")
            prompt = pb_utils.get_input_tensor_by_name(request, "text_input")
            words = len(prompt.as_numpy()[0].split())
            told = (request.get_response_sender(), int(count.as_numpy()[0]), words)
            threading.Thread(target=self.tell, args=told).start()

    def tell(self, sender, count, words):
        start = time.monotonic()
        for number in range(count):
            due = start + (number + 1) * INTERVAL_S
            time.sleep(max(due - time.monotonic(), 0))
            text = np.array([f"{words} ".encode()], np.object_)
            tensor = pb_utils.Tensor("text_output", text)
            sender.send(pb_utils.InferenceResponse([tensor]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
