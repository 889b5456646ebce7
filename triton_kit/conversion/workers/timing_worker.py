"""The worker of `search.timing`: runs several models in turns and times them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from onnxruntime import InferenceSession

from triton_kit.conversion.workers.onnx_worker import open_session
from triton_kit.conversion.workers.samples import Feed, read_feed
from triton_kit.conversion.workers.worker import Request


def work(request: Request) -> dict[str, list[list[float]]]:
    """Return the seconds of an inference in every round, by model: the mean of feeds.

    The order changes every round: what runs next to what is not always the same.
    """
    feeds = [read_feed(Path(path), request["names"]) for path in request["feeds"]]
    sessions = [
        open_session(
            path,
            level,
            op_libraries=request["op_libraries"],
            on_gpu=request["on_gpu"],
        )
        for path, level in zip(request["models"], request["levels"], strict=True)
    ]
    for session in sessions:
        _run(session, feeds)
    seconds: list[list[float]] = [[] for _ in sessions]
    started_s = time.perf_counter()
    for number in range(request["rounds"]):
        if number and time.perf_counter() - started_s > request["budget_s"]:
            break
        for place in range(len(sessions)):
            index = (place + number) % len(sessions)
            began_s = time.perf_counter()
            _run(sessions[index], feeds)
            seconds[index].append((time.perf_counter() - began_s) / len(feeds))
    return {"seconds": seconds}


def _run(session: InferenceSession, feeds: Sequence[Feed]) -> None:
    for feed in feeds:
        session.run(None, feed)
