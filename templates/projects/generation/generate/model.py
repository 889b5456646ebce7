"""A text becomes a date, one character per response.

A Triton Python-backend model, decoupled. In:  text   BYTES, shape (1).
                                          Out: token  BYTES, shape (1), many times.
It calls the models `encoder` once and `decoder` for every character (business logic
scripting), so that these may run on a GPU.
"""

from collections.abc import Iterator

import numpy as np
import triton_python_backend_utils as pb_utils
from characters import END, OUT, encode

WIDTH = 64  # of the decoder's state
MAX_TOKENS = 16
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """Triton calls `execute` with requests; responses leave through their senders."""

    def execute(self, requests: "list[pb_utils.InferenceRequest]") -> None:
        """Answer each request with a stream of its own."""
        for request in requests:
            sender = request.get_response_sender()
            given = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            try:
                text = encode(given.reshape(-1)[0].decode("utf-8", "replace"))
                for token in characters(text):
                    if sender.is_cancelled():  # the client left: stop computing
                        break
                    output = pb_utils.Tensor("token", np.array([token], object))
                    sender.send(pb_utils.InferenceResponse([output]))
            except (ValueError, pb_utils.TritonModelException) as reason:
                error = pb_utils.TritonError(
                    f"text: {reason}", pb_utils.TritonError.INVALID_ARG
                )
                sender.send(pb_utils.InferenceResponse(error=error), flags=FINAL)
            else:
                sender.send(flags=FINAL)


def characters(text: "list[int]") -> "Iterator[bytes]":
    """Yield the characters of the date as the network chooses them."""
    memory = ask("encoder", ["memory"], text=np.array([text], np.int64))["memory"]
    state = np.zeros((1, WIDTH), np.float32)
    last = len(OUT)  # stands for the beginning
    for _ in range(MAX_TOKENS):
        step = {"last": np.array([[last]], np.int64), "state": state, "memory": memory}
        found = ask("decoder", ["scores", "next_state"], **step)
        last, state = int(found["scores"].argmax()), found["next_state"]
        if last == END:
            return
        yield OUT[last].encode()


def ask(model: str, outputs: "list[str]", **inputs: np.ndarray) -> dict:
    """Run another model of the server.

    Raises:
        TritonModelException: that model failed.
    """
    request = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=outputs,
        inputs=[pb_utils.Tensor(name, value) for name, value in inputs.items()],
    )
    response = request.exec()
    if response.has_error():
        raise pb_utils.TritonModelException(response.error().message())
    return {
        name: pb_utils.get_output_tensor_by_name(response, name).as_numpy()
        for name in outputs
    }
