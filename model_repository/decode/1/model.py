"""PNG bytes become the image tensor of the classifier.

A Triton Python-backend model. In:  png    BYTES, shape (batch, 1).
                               Out: image  FP32, shape (batch, 1, 8, 8), 0 to 1.
Bytes that are no image fail their own request and leave the others alone.
"""

import io

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image, UnidentifiedImageError

SIZE = (8, 8)
MAX_PIXELS = 16_000_000  # refuse to unpack a decompression bomb


class TritonPythonModel:
    """Triton calls `execute` with the requests of one batch."""

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [respond(request) for request in requests]


def respond(
    request: "pb_utils.InferenceRequest",
) -> "pb_utils.InferenceResponse":
    """Decode the PNGs of one request."""
    files = pb_utils.get_input_tensor_by_name(request, "png").as_numpy()
    try:
        images = np.stack([decode(file) for file in files.reshape(-1)])
    except UnidentifiedImageError:
        return refusal("the bytes are not a PNG image")
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises
        return refusal(str(error))
    return pb_utils.InferenceResponse([pb_utils.Tensor("image", images)])


def refusal(reason: str) -> "pb_utils.InferenceResponse":
    """Return an error for one request."""
    error = pb_utils.TritonError(f"png: {reason}", pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse(error=error)


def decode(file: bytes) -> np.ndarray:
    """Turn the bytes of one picture into float32, shape (1, 8, 8)."""
    with Image.open(io.BytesIO(file), formats=["PNG"]) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{picture.width}x{picture.height} pixels are too many")
        grey = picture.convert("L")
        if grey.size != SIZE:
            grey = grey.resize(SIZE, Image.Resampling.BOX)
        return np.asarray(grey, dtype=np.float32)[np.newaxis] / 255
