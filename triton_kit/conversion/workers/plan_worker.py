"""The worker that runs a TensorRT plan on the GPU that it was built on.

Its request and response are those of `onnx_worker`: a plan passes the same gate.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from triton_kit.conversion.workers.samples import read_feed, write_arrays
from triton_kit.conversion.workers.worker import Request

_PROFILE = re.compile(r"profile (\d+) ")


def work(request: Request) -> dict[str, list[str]]:
    """Run every feed, each under the profile that its label names, else under 0."""
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    plan = Path(request["model"]).read_bytes()
    outputs: list[str] = []
    with TrtRunner(EngineFromBytes(plan)) as runner:
        for index, path in enumerate(request["feeds"]):
            found = _PROFILE.match(request["labels"][index])
            runner.set_profile(int(found[1]) if found else 0)
            feed = read_feed(Path(path), request["names"])
            computed = runner.infer(feed, copy_outputs_to_host=True)
            outputs = outputs or list(computed)
            arrays = [np.asarray(computed[name]) for name in outputs]
            write_arrays(Path(request["folder"]) / f"output_{index}.npz", arrays)
    return {"outputs": outputs}
