"""The worker of `timing.time_models`: runs several models in turns and times them."""

from __future__ import annotations

import time
from pathlib import Path

from triton_kit.conversion.workers.onnx_worker import open_session
from triton_kit.conversion.workers.samples import read_feed
from triton_kit.conversion.workers.worker import Request


def work(request: Request) -> dict[str, list[list[float]]]:
    """Return the seconds of every run, by model.

    The order changes every round: what runs next to what is not always the same.
    """
    feed = read_feed(Path(request["feed"]), request["names"])
    sessions = [
        open_session(path, level, on_gpu=request["on_gpu"])
        for path, level in zip(request["models"], request["levels"], strict=True)
    ]
    for session in sessions:
        session.run(None, feed)
    seconds: list[list[float]] = [[] for _ in sessions]
    started_s = time.perf_counter()
    for number in range(request["rounds"]):
        if number and time.perf_counter() - started_s > request["budget_s"]:
            break
        for place in range(len(sessions)):
            index = (place + number) % len(sessions)
            began_s = time.perf_counter()
            sessions[index].run(None, feed)
            seconds[index].append(time.perf_counter() - began_s)
    return {"seconds": seconds}
