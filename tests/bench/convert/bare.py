"""The library calls of a conversion to fp32, with nothing of the kit around them.

Usage: bare.py SOURCE FOLDER SHAPE...    a shape is 1x3x224x224, input `input`

Each run has a process of its own, as in the kit: ONNX Runtime can end its process.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxslim

RUN = """
import sys, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, sys.argv[2])
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for path in sys.argv[3:]:
    with np.load(path) as file:
        np.savez(path + ".out", session.run(None, {"input": file["arr_0"]})[0])
"""


def main(source, folder, *shapes):
    rng = np.random.default_rng(0)
    paths = []
    for index, shape in enumerate(shapes):
        paths.append(Path(folder) / f"bare_{index}.npz")
        drawn = rng.standard_normal([int(size) for size in shape.split("x")])
        np.savez(paths[-1], drawn.astype(np.float32))
    slim = Path(folder) / "slim.onnx"
    onnx.checker.check_model(source)
    onnx.save(onnxslim.slim(onnx.load(source)), slim)
    for model, level in (
        (source, "ORT_DISABLE_ALL"),
        (slim, "ORT_DISABLE_ALL"),
        (slim, "ORT_ENABLE_ALL"),
    ):
        argv = [sys.executable, "-c", RUN, str(model), level, *map(str, paths)]
        subprocess.run(argv, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
