"""The worker of `models.run_onnx`: runs every feed, writes the outputs to files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from triton_kit.conversion.workers.samples import read_feed, write_arrays
from triton_kit.conversion.workers.worker import Request

LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_FATAL = 4

# In float32 as the gate means it; by default sums are in TF32.
_CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})


def quiet_options(level: str) -> ort.SessionOptions:
    """Return the options of a session that logs nothing: errors come as exceptions."""
    ort.set_default_logger_severity(_FATAL)  # what is logged outside of sessions
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = _FATAL
    return options


def open_session(
    path: str, level: str, *, op_libraries: Sequence[str] = (), on_gpu: bool = False
) -> ort.InferenceSession:
    """Open a session that logs nothing: on the CPU, or on the first GPU."""
    options = quiet_options(level)
    for library in op_libraries:
        options.register_custom_ops_library(library)
    # Several processes run one after the other: threads that spin gain nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if on_gpu:
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # of NVIDIA's wheels
        providers = [_CUDA, *providers]
    session = ort.InferenceSession(path, options, providers=providers)
    if on_gpu and session.get_providers()[0] != _CUDA[0]:
        raise RuntimeError("the CUDA provider does not start: is cuDNN installed?")
    return session


def work(request: Request) -> dict[str, list[str]]:
    """Write the outputs for every feed; return their names."""
    where = "loading it"
    try:
        session = open_session(
            request["model"],
            request["level"],
            op_libraries=request["op_libraries"],
            on_gpu=request["on_gpu"],
        )
        outputs = [output.name for output in session.get_outputs()]
        for index, path in enumerate(request["feeds"]):
            where = request["labels"][index]
            feed = read_feed(Path(path), request["names"])
            arrays = session.run(outputs, feed)
            write_arrays(Path(request["folder"]) / f"output_{index}.npz", arrays)
    except Exception as error:  # of ONNX Runtime, by any class; says at which feed
        sys.exit(f"at {where}: {type(error).__name__}: {error}")
    return {"outputs": outputs}
