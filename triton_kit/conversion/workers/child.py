"""Child processes of the converter: called, and their ends turned into errors."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from triton_kit.conversion.place import room_hint
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.process import Finished, python_command, start_child

Json = Any
REASON_LINES = 3
_NO_KERNEL = re.compile(
    r"Could not find an implementation for ([\w.]+\(\d+\)) node with name '([^']*)'"
)
_OUT_OF_MEMORY = re.compile(
    "bad_alloc|MemoryError|Failed to allocate memory|[Cc]annot allocate memory"
)
_DISK_FULL = re.compile(
    r"No space left|File too large|Disk quota|requested and \d+ written"
)
_UNKNOWN_OP = re.compile(r"([\w.]+:[\w.]+)\(-?\d+\) is not a registered function/op")


class NoKernelError(VerifyError):
    """The CPU has no kernel for an operator in this data type."""


def call_worker(
    module: str, order: Json, *, deadline_s: float, env: dict[str, str] | None = None
) -> Finished:
    """Give an order to a worker module of this package, in a process of its own."""
    with begun_worker(module, order, deadline_s=deadline_s, env=env) as finish:
        return finish()


def begun_worker(
    module: str, order: Json, *, deadline_s: float, env: dict[str, str] | None = None
) -> AbstractContextManager[Callable[[], Finished]]:
    """Begin what `call_worker` does; see `triton_kit.process.start_child`."""
    argv = python_command("-m", f"triton_kit.conversion.{module}")
    return start_child(argv, deadline_s=deadline_s, stdin=json.dumps(order), env=env)


def no_blas_threads() -> dict[str, str]:
    """Return the environment of a worker that calls no linear algebra of NumPy's.

    OpenBLAS starts a thread per core as NumPy is imported: 0.1 s of CPU on two.
    """
    return {"OPENBLAS_NUM_THREADS": "1"} | os.environ


def explain(model: Path, done: Finished, what: str) -> VerifyError:
    """Turn a failed run into an error that names the operator, or the signal."""
    if match := _NO_KERNEL.search(done.stderr):
        return NoKernelError(
            f"ONNX Runtime has no CPU kernel for {match[1]}, first node {match[2]!r}",
            hint="keep it in fp32 (--keep-fp32), or choose another precision",
        )
    if match := _UNKNOWN_OP.search(done.stderr):
        return NoKernelError(
            f"ONNX Runtime does not know operator {match[1]}",
            hint="export without it, or replace it by a graph pass (--pass)",
        )
    said = ending(done).replace(f"{model.parent}/", "")  # a scratch folder
    return VerifyError(f"{what}: {said}", hint=hint(done))


def ending(done: Finished) -> str:
    """Say how a worker ended, with its last words."""
    reason = " ".join(done.stderr.strip().splitlines()[-REASON_LINES:])
    return f"{done.ending}: {reason}" if reason else done.ending


def hint(done: Finished) -> str | None:
    """Say what may help, from how a worker ended."""
    if done.exit_code is None:
        return "raise --deadline"
    if done.exit_code == -signal.SIGKILL or _OUT_OF_MEMORY.search(done.stderr):
        return "it ran out of memory, most likely: use smaller shapes or fewer samples"
    if _DISK_FULL.search(done.stderr):
        return room_hint()
    if done.exit_code < 0:
        return "the library crashed; nothing was kept"
    return None


def worker_failed(path: Path, done: Finished, what: str) -> ConvertError:
    """Turn a failed worker that is not the gate's into an error."""
    error = explain(path, done, what)
    return ConvertError(f"{path.name}: {error.message}", hint=error.hint)
