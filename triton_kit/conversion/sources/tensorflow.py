"""A TensorFlow model becomes an ONNX file, in a Python that has TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx
from triton_kit.conversion.sources.torch import name_axes
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.child import ending
from triton_kit.conversion.workers.other_python import OtherPython
from triton_kit.errors import ConvertError
from triton_kit.process import python_command, run_child

# TensorFlow wants other versions of NumPy and protobuf than the embedded server does,
# so it may live in an environment of its own.
PYTHON = OtherPython(
    variable="TRITON_KIT_TENSORFLOW_PYTHON",
    modules=("tf2onnx", "tensorflow"),
    what="TensorFlow with tf2onnx",
    extra="tensorflow",
)
DEFAULT_OPSET = 18
# Keras' own ONNX export wants a model that was called; its SavedModel export does not.
_SAVE_KERAS = (
    "import sys, keras\n"
    "keras.models.load_model(sys.argv[1]).export(sys.argv[2], verbose=False)\n"
)


def onnx_from_tensorflow(spec: ConvertSpec, scratch: Path) -> Path:
    """Export a SavedModel folder or a .keras file, through tf2onnx.

    Raises:
        ConvertError: it does not export.
        MissingExtraError: no Python with TensorFlow is known.
    """
    path, source = scratch / "exported.onnx", Path(spec.source)
    if not source.is_dir():
        saved = scratch / "saved_model"
        _run(spec, ["-c", _SAVE_KERAS, str(source), str(saved)], made=saved)
        source = saved
    words = ["-m", "tf2onnx.convert", "--saved-model", str(source)]
    words += ["--output", str(path), "--opset", str(spec.opset or DEFAULT_OPSET)]
    _run(spec, words, made=path)
    model = load_onnx(path)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.dim_param = ""
    name_axes(model)
    del model.metadata_props[:]  # the exporter's, of this run
    save_onnx(model, path)
    return path


def _run(spec: ConvertSpec, words: list[str], *, made: Path) -> None:
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = python_command(*words, program=PYTHON.program())
    done = run_child(command, deadline_s=spec.deadline_s, env=env)
    if done.exit_code != 0 or not made.exists():
        raise ConvertError(
            f"{spec.source}: TensorFlow does not export it: {ending(done)}"
        )
