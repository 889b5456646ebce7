"""The library calls of a conversion, with nothing of the kit around them."""

import subprocess
import sys
import time

import numpy as np
import onnx
import onnxslim

RUN = """
import sys, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, sys.argv[2])
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for path in sys.argv[3:]:
    with np.load(path) as file:
        np.savez(path + ".out", session.run(None, {"input": file["arr_0"]})[0])
"""


def bare_seconds(source, folder, shapes):
    """Return how long onnxslim and the runs that the gate makes take by themselves."""
    rng = np.random.default_rng(0)
    paths = []
    for index, shape in enumerate(shapes):
        paths.append(folder / f"bare_{index}.npz")
        np.savez(paths[-1], rng.standard_normal(shape).astype(np.float32))
    started = time.monotonic()
    slim = folder / "slim.onnx"
    onnx.save(onnxslim.slim(onnx.load(source)), slim)
    for model, level in (
        (source, "ORT_DISABLE_ALL"),
        (slim, "ORT_DISABLE_ALL"),
        (slim, "ORT_ENABLE_ALL"),
    ):
        argv = [sys.executable, "-c", RUN, str(model), level, *map(str, paths)]
        subprocess.run(argv, check=True)
    return time.monotonic() - started
