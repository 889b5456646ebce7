"""Lines of a page become texts: crops go to `recognize` in batches.

A Triton Python-backend model. In:  pixels UINT8, shape (height, width, 3),
                                    map    FP32, shape (1, 1, height, width).
                               Out: texts  BYTES, scores FP32, shape (n),
                                    boxes  FP32, shape (n, 4), in pixels.
"""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image
from pixels import normalized
from regions import boxes

RECOGNIZE, BATCH = "recognize", 4
HEIGHT, NARROWEST, WIDEST = 48, 320, 640
LEAST_SCORE = 0.5


class TritonPythonModel:
    """Triton calls `execute` with requests that wait; each is a page."""

    def initialize(self, _: "dict[str, str]") -> None:
        """Read the recognizer's characters; the first is none, the last a space."""
        text = (Path(__file__).parent / "characters.txt").read_text("utf-8")
        self.characters = np.array(["", *text.split("\n")[:-1], " "])

    def execute(
        self, requests: "list[pb_utils.InferenceRequest]"
    ) -> "list[pb_utils.InferenceResponse]":
        """Return a response for every request, each on its own."""
        return [self.respond(request) for request in requests]

    def respond(
        self, request: "pb_utils.InferenceRequest"
    ) -> "pb_utils.InferenceResponse":
        """Read the lines of one page."""
        page, found = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in ("pixels", "map")
        )
        places = boxes(found[0, 0])
        crops = [scaled(page[t:b, l:r]) for l, t, r, b in places]  # noqa: E741
        try:
            lines = self.recognize(crops)
        except pb_utils.TritonModelException as reason:
            error = pb_utils.TritonError(str(reason))
            return pb_utils.InferenceResponse(error=error)
        kept = [at for at, (_, score) in enumerate(lines) if score >= LEAST_SCORE]
        texts = np.array([lines[at][0].encode() for at in kept], object)
        scores = np.array([lines[at][1] for at in kept], np.float32)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("texts", texts),
                pb_utils.Tensor("scores", scores),
                pb_utils.Tensor("boxes", places[kept].astype(np.float32)),
            ]
        )

    def recognize(self, crops: "list[np.ndarray]") -> "list[tuple[str, float]]":
        """Return text and score of each crop; crops of like width share a call."""
        order = sorted(range(len(crops)), key=lambda at: crops[at].shape[2])
        lines = [("", 0.0)] * len(crops)
        for begin in range(0, len(order), BATCH):
            some = order[begin : begin + BATCH]
            widest = max(NARROWEST, *(crops[at].shape[2] for at in some))
            batch = np.zeros((len(some), 3, HEIGHT, widest), np.float32)
            for row, at in enumerate(some):
                batch[row, :, :, : crops[at].shape[2]] = crops[at]
            for at, scores in zip(some, self.ask(batch), strict=True):
                lines[at] = self.text(scores)
        return lines

    def ask(self, batch: np.ndarray) -> np.ndarray:
        """Return the scores of each character, shape (lines, steps, characters)."""
        response = pb_utils.InferenceRequest(
            model_name=RECOGNIZE,
            requested_output_names=["softmax_11.tmp_0"],
            inputs=[pb_utils.Tensor("x", batch)],
        ).exec()
        if response.has_error():
            raise pb_utils.TritonModelException(response.error().message())
        [output] = response.output_tensors()
        return output.as_numpy()

    def text(self, scores: np.ndarray) -> "tuple[str, float]":
        """Decode one line: a character counts once until it changes."""
        best = scores.argmax(1)
        is_new = (best != 0) & (best != np.append(-1, best[:-1]))
        if not is_new.any():
            return "", 0.0
        mean = float(scores.max(1)[is_new].mean())
        return "".join(self.characters[best[is_new]]), mean


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Return a line as the recognizer takes it, float32, shape (3, 48, width)."""
    width = max(1, round(pixels.shape[1] * HEIGHT / pixels.shape[0]))
    size = (min(width, WIDEST), HEIGHT)
    line = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    return normalized(np.asarray(line))
