"""Graph passes: each takes an ONNX model and returns one that computes the same."""

from __future__ import annotations

import logging

import onnx
import onnxslim

from triton_kit.errors import ConvertError


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants, fuse and drop what changes nothing (onnxslim).

    Raises:
        ConvertError: onnxslim could not do it; the model is as it was.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    logging.getLogger("onnxslim").setLevel(logging.ERROR)
    try:
        slim: onnx.ModelProto | None = onnxslim.slim(copy)
    except Exception as error:  # onnxslim's own border: it raises whatever it meets
        raise ConvertError(f"onnxslim failed: {error}") from error
    if slim is None:
        raise ConvertError("onnxslim returned nothing")
    return slim
