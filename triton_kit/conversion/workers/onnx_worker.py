"""The child of `run.run_onnx`: reads an order on stdin, writes answers to files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnxruntime as ort

from triton_kit.conversion.workers.samples import read_feed, write_arrays

LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def open_session(path: str, level: str) -> ort.InferenceSession:
    """Open a CPU session that says nothing but errors."""
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 4  # errors come as exceptions
    # Several processes run one after the other: nobody gains from threads that spin.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Do one order."""
    order = json.load(sys.stdin)
    where = "loading it"
    try:
        session = open_session(order["model"], order["level"])
        outputs = [output.name for output in session.get_outputs()]
        for index, path in enumerate(order["feeds"]):
            where = order["labels"][index]
            feed = read_feed(Path(path), order["names"])
            answer = session.run(outputs, feed)
            write_arrays(Path(order["answers"]) / f"answer_{index}.npz", answer)
    except Exception as error:  # a supervisor's border: the parent explains it
        sys.exit(f"at {where}: {type(error).__name__}: {error}")
    json.dump({"outputs": outputs}, sys.stdout)


if __name__ == "__main__":
    main()
