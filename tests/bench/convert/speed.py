"""How fast each variant answers: one process, interleaved round by round.

Whatever else the machine does then meets all of them alike.
"""

import time
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import torch
from watch import watched


def session(path, threads):
    """Open a session as a server would, but with threads that do not spin.

    Threads that spin after a run would take the next variant's CPU. Their number is
    set: left alone, ONNX Runtime takes every core, those not meant for us too.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def variants(module, paths, threads):
    """Return name -> function of a batch: torch eager, then every ONNX file."""

    def eager(images):
        with torch.inference_mode():
            return module(torch.from_numpy(images)).numpy()

    def served(opened):
        return lambda images: opened.run(None, {"input": images})[0]

    found = {"torch eager": eager}
    return found | {
        name: served(session(path, threads)) for name, path in paths.items()
    }


def measured(functions, images, rounds):
    """Return name -> rounds of Spent, one inference each.

    The order is drawn anew every round: what runs next to what is not always the same.
    """
    rng = np.random.default_rng(2)
    for function in functions.values():
        function(images)
    spent = {name: [] for name in functions}
    for _ in range(rounds):
        for name in rng.permutation(list(functions)):
            with watched(time.process_time) as one:
                functions[name](images)
            spent[name].append(one)
    return spent


def operators_served(path, folder):
    """Return operator -> how many of it ONNX Runtime computes, once optimised."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "served.onnx")
    options.log_severity_level = 3  # it warns that the file fits only this machine
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "served.onnx").graph
    return dict(sorted(Counter(node.op_type for node in graph.node).items()))
