"""A user's request goes to one of two versions of `classify`, or to `linear`.

A Triton Python-backend model. In:  image          FP32, shape (1, 8, 8), 0 to 1.
                                    user           BYTES, shape (1).
                               Out: probabilities  FP32, shape (10).
                                    served_by      BYTES, shape (1): "classify/2".
`candidate_percent` of the users get version 2, always the same ones. If `classify`
fails, or is not there, `linear` responds. It calls both inside the server (business
logic scripting).
"""

import json
import zlib

import numpy as np
import triton_python_backend_utils as pb_utils

CURRENT, CANDIDATE, NEWEST = 1, 2, -1


class TritonPythonModel:
    """Triton calls `execute` with one request at a time: the model does not batch."""

    def initialize(self, args: "dict[str, str]") -> None:
        """Read the share of the candidate from the config."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.percent = int(parameters["candidate_percent"]["string_value"])

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [self.respond(request) for request in requests]

    def respond(
        self, request: "pb_utils.InferenceRequest"
    ) -> "pb_utils.InferenceResponse":
        """Ask the version of the user, then the fallback."""
        image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        if not (image.min() >= 0 and image.max() <= 1):
            return failed(
                f"image: values from {image.min():g} to {image.max():g}, expected 0 "
                "to 1: divide pixels by 255"
            )
        user = pb_utils.get_input_tensor_by_name(request, "user").as_numpy()[0]
        is_candidate = zlib.crc32(user) % 100 < self.percent
        version = CANDIDATE if is_candidate else CURRENT
        reasons = []
        for model, asked in (("classify", version), ("linear", NEWEST)):
            answered = ask(model, asked, image)
            if not answered.has_error():
                return response(answered, f"{model}/{asked}" if asked > 0 else model)
            reasons.append(answered.error().message())
            pb_utils.Logger.log_warn(f"{model} failed: {reasons[-1]}")
        return failed("; ".join(reasons))


def ask(model: str, version: int, image: np.ndarray) -> "pb_utils.InferenceResponse":
    """Run a version of another model of the server on one image."""
    return pb_utils.InferenceRequest(
        model_name=model,
        model_version=version,
        requested_output_names=["probabilities"],
        inputs=[pb_utils.Tensor("image", image[np.newaxis])],
    ).exec()


def response(
    answered: "pb_utils.InferenceResponse", served_by: str
) -> "pb_utils.InferenceResponse":
    """Pass on what a model said, and which one it was."""
    found = pb_utils.get_output_tensor_by_name(answered, "probabilities").as_numpy()
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("probabilities", found[0]),
            pb_utils.Tensor("served_by", np.array([served_by.encode()], object)),
        ]
    )


def failed(reason: str) -> "pb_utils.InferenceResponse":
    """Return the error of one request."""
    error = pb_utils.TritonError(reason, pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse(error=error)
