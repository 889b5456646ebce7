"""A TensorFlow model becomes an ONNX file, in a Python that has TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx
from triton_kit.conversion.sources.torch import name_axes
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.child import call_worker, conversion_failed
from triton_kit.conversion.workers.other_python import OtherPython

# TensorFlow requires other versions of NumPy and protobuf than the embedded server,
# so it may run in an environment of its own.
PYTHON = OtherPython(
    variable="TRITON_KIT_TENSORFLOW_PYTHON",
    modules=("tf2onnx", "tensorflow"),
    what="TensorFlow with tf2onnx",
    extra="tensorflow",
)
DEFAULT_OPSET = 18


def onnx_from_tensorflow(spec: ConvertSpec, scratch: Path) -> Path:
    """Export a SavedModel folder or a .keras file, through tf2onnx.

    Raises:
        ConvertError: it does not export.
        MissingExtraError: no Python with TensorFlow is known.
    """
    path, source = scratch / "exported.onnx", Path(spec.source)
    is_saved = source.is_dir()
    call_worker(
        "sources.tensorflow_worker",
        {
            "keras": None if is_saved else str(source),
            "saved_model": str(source if is_saved else scratch / "saved_model"),
            "onnx": str(path),
            "opset": spec.opset or DEFAULT_OPSET,
        },
        timeout_s=spec.timeout_s,
        failed=conversion_failed(f"{spec.source}: TensorFlow does not export it"),
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        python=PYTHON.program(),
    )
    model = load_onnx(path)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.dim_param = ""
    name_axes(model)
    del model.metadata_props[:]  # the exporter's, of this run
    save_onnx(model, path)
    return path
