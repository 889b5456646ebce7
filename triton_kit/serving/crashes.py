"""A server that ended becomes an error, with what is known of such an end."""

from __future__ import annotations

import re
from pathlib import Path

from triton_kit.errors import ServerError
from triton_kit.process import describe_exit, tail

# A crash in the Python backend: what it throws, or a line of the stack.
_IS_BACKEND_CRASH = re.compile(
    r"boost::interprocess::lock_exception|^ *\d+# .*/libtriton_python\.so", re.MULTILINE
)
BACKEND_CRASH = (
    "Triton crashed in its Python backend, as it does when a Python model's process "
    "ended or had no CPU for a second (its issue 8882): start it again"
)
# What the native onnxruntime backend writes; a stack follows.
_CRASHED_MODEL = re.compile(
    r"^onnxruntime backend: (crashed while it ran model '.*')$", re.MULTILINE
)
_MODEL_CRASH = (
    "with --onnxruntime-backend python such a crash ends the model's process alone"
)


def server_died(code: int, log: Path, when: str) -> ServerError:
    """Return the error of a server that ended: how, and the end of its log."""
    ending = describe_exit(code)
    text = log.read_text(errors="replace")
    hint = BACKEND_CRASH if _IS_BACKEND_CRASH.search(text) else None
    if model := _CRASHED_MODEL.search(text):
        ending, hint = f"{ending}; the onnxruntime backend {model[1]}", _MODEL_CRASH
    return ServerError(f"tritonserver ended {when}: {ending}\n{tail(log)}", hint=hint)
