"""Text becomes the ids of its tokens, with the tokenizer.json beside this file.

A Triton Python-backend model. In:  text  BYTES, shape (batch, 1).
                               Out: ids   INT64, shape (batch, tokens), padded with 0.
The number of tokens is padded to a multiple of 16. So texts of similar length have the
same shape, and the server can join them into one batch of the network.
"""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

MULTIPLE = 16
MAX_CHARACTERS = 20_000


class TritonPythonModel:
    """Triton calls `initialize` once, `execute` with the requests of one batch."""

    def initialize(self, _: dict) -> None:
        """Read the tokenizer from the folder of this version."""
        file = Path(__file__).with_name("tokenizer.json")
        self.tokenizer = Tokenizer.from_file(str(file))
        self.tokenizer.enable_padding(pad_to_multiple_of=MULTIPLE)

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [self.respond(request) for request in requests]

    def respond(
        self, request: "pb_utils.InferenceRequest"
    ) -> "pb_utils.InferenceResponse":
        """Tokenize the texts of one request."""
        given = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
        try:
            texts = [read(text) for text in given.reshape(-1)]
        except ValueError as reason:
            error = pb_utils.TritonError(
                f"text: {reason}", pb_utils.TritonError.INVALID_ARG
            )
            return pb_utils.InferenceResponse(error=error)
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded], np.int64)
        return pb_utils.InferenceResponse([pb_utils.Tensor("ids", ids)])


def read(text: bytes) -> str:
    """Decode one text.

    Raises:
        ValueError: it is empty, too long or not UTF-8.
    """
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error
    if not decoded.strip():
        raise ValueError("empty, expected at least one word")
    if len(decoded) > MAX_CHARACTERS:
        raise ValueError(f"{len(decoded)} characters, at most {MAX_CHARACTERS}")
    return decoded
