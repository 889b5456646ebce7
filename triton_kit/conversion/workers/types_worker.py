"""The worker that asks ONNX Runtime for the types of a graph's outputs."""

from __future__ import annotations

from triton_kit.conversion.workers.onnx_worker import open_session
from triton_kit.conversion.workers.worker import Request


def work(request: Request) -> dict[str, str]:
    """Return ONNX Runtime's name of the type of every output."""
    session = open_session(
        request["model"], "off", op_libraries=request["op_libraries"]
    )
    return {output.name: output.type for output in session.get_outputs()}
