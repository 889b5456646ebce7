"""The worker that has TensorFlow: needs no kit in its Python, so imports none of it."""

import sys
from runpy import run_module
from typing import Any


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Write the SavedModel of a .keras file, where it is one, and the ONNX file."""
    folder = request["saved_model"]
    if request["keras"]:
        # Keras' own ONNX export needs a model that was called; this one does not.
        import keras

        keras.models.load_model(request["keras"]).export(folder, verbose=False)
    sys.argv = ["tf2onnx", "--saved-model", folder, "--output", request["onnx"]]
    sys.argv += ["--opset", str(request["opset"])]
    run_module("tf2onnx.convert", run_name="__main__")
    return {}
