"""The child that runs a TensorRT plan on the GPU that it was built on.

It takes the order of `run_worker` and answers in the same form, so that a plan passes
the same gate as an ONNX file.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from triton_kit.conversion.workers.samples import read_feed, write_arrays
from triton_kit.conversion.workers.worker import Order, do_order

_PROFILE = re.compile(r"profile (\d+) ")


def run(order: Order) -> dict[str, list[str]]:
    """Answer every feed, each under the profile that its label names, else under 0."""
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    plan = Path(order["model"]).read_bytes()
    outputs: list[str] = []
    with TrtRunner(EngineFromBytes(plan)) as runner:
        for index, path in enumerate(order["feeds"]):
            found = _PROFILE.match(order["labels"][index])
            runner.set_profile(int(found[1]) if found else 0)
            feed = read_feed(Path(path), order["names"])
            answer = runner.infer(feed, copy_outputs_to_host=True)
            outputs = outputs or list(answer)
            arrays = [np.asarray(answer[name]) for name in outputs]
            write_arrays(Path(order["answers"]) / f"answer_{index}.npz", arrays)
    return {"outputs": outputs}


if __name__ == "__main__":
    do_order(run)
