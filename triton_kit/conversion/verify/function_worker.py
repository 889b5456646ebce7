"""The worker that runs a user's comparison of outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triton_kit.conversion.onnx.passes import load_callable
from triton_kit.conversion.workers.samples import read_feed
from triton_kit.conversion.workers.worker import Json, Request
from triton_kit.errors import SpecError


def work(request: Request) -> dict[str, Json]:
    """Return the least agreement over all feeds; `refused` says why there is none."""
    try:
        compare = load_callable(request["function"], "verify function", request["root"])
    except SpecError as error:
        return {"refused": error.message}
    shares = []
    for index in range(request["count"]):
        left, right = (
            read_feed(Path(request[side]) / f"output_{index}.npz", request["names"])
            for side in ("original", "candidate")
        )
        share: Any = compare(left, right)  # what a user's function returns
        shares.append(float(share))
    return {"agreement": min(shares, default=1.0), "refused": None}
