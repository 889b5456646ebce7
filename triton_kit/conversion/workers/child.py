"""Child processes of the converter: started, and their failures made into errors."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from triton_kit.conversion.output_files import free_space_hint
from triton_kit.conversion.workers.forked import ForkServerEndedError, start_forked
from triton_kit.errors import ConvertError, TritonKitError, VerifyError
from triton_kit.process import NO_TELEMETRY, Finished, python_command, start_child

Json = Any
REASON_LINES = 3
_PACKAGE = "triton_kit.conversion"
_PROGRAM = f"{_PACKAGE}.workers.worker"
_NO_KERNEL = re.compile(
    r"Could not find an implementation for ([\w.]+\(\d+\)) node with name '([^']*)'"
)
_OUT_OF_MEMORY = re.compile(
    "bad_alloc|MemoryError|Failed to allocate memory|[Cc]annot allocate memory"
)
_DISK_FULL = re.compile(
    r"No space left|File too large|Disk quota|requested and \d+ written"
)
_BROKEN_PYTHON = (
    "the Python environment is broken, or a limit is too low: check PYTHONPATH, the "
    "installed packages and `ulimit -a`"
)
_UNKNOWN_OP = re.compile(r"([\w.]+:[\w.]+)\(-?\d+\) is not a registered function/op")


# Of custom operators: every ONNX Runtime session of a conversion needs them.
_op_libraries: ContextVar[tuple[str, ...]] = ContextVar("op_libraries", default=())


@contextmanager
def with_op_libraries(paths: Sequence[Path]) -> Iterator[None]:
    """Let the workers that are started in here load libraries of custom operators."""
    token = _op_libraries.set(tuple(str(path.resolve()) for path in paths))
    try:
        yield
    finally:
        _op_libraries.reset(token)


class NoKernelError(VerifyError):
    """The CPU has no kernel for an operator in this data type."""


Failure = Callable[[Finished], TritonKitError]


def call_worker(
    module: str,
    request: Json,
    *,
    timeout_s: float,
    failed: Failure,
    preloaded: bool = False,
    env: dict[str, str] | None = None,
    python: str | None = None,
) -> Json:
    """Let a worker do a request in a process of its own; return its response.

    Args:
        module: below `triton_kit.conversion`.
        request: what its `work` takes.
        timeout_s: maximum seconds.
        failed: makes the error of a worker that ended without a response.
        preloaded: whether it may be forked from a process that has its libraries. It
            must run no code of the user's and no linear algebra of NumPy's.
        env: its environment, unless it is preloaded.
        python: another Python, which may lack the kit.
    """
    with start_worker(
        module,
        request,
        timeout_s=timeout_s,
        failed=failed,
        preloaded=preloaded,
        env=env,
        python=python,
    ) as finish:
        return finish()


@contextmanager
def start_worker(
    module: str,
    request: Json,
    *,
    timeout_s: float,
    failed: Failure,
    preloaded: bool = False,
    env: dict[str, str] | None = None,
    python: str | None = None,
) -> Iterator[Callable[[], Json]]:
    """Start what `call_worker` calls, and yield what waits for its response."""
    request = request | {"op_libraries": _op_libraries.get()}
    text = json.dumps(request)
    env = _no_blas_threads() if preloaded else env
    # Libraries go through sets of names: the same source has to give the same bytes.
    env = NO_TELEMETRY | dict(env or os.environ) | {"PYTHONHASHSEED": "0"}
    with ExitStack() as stack:
        end = None
        if preloaded:
            name = f"{_PACKAGE}.{module}"
            forked = start_forked(name, text, deadline_s=timeout_s, env=env)
            end = stack.enter_context(forked)
        if end is None:
            argv = _argv(module, python)
            child = start_child(argv, deadline_s=timeout_s, stdin=text, env=env)
            end = stack.enter_context(child)
        finish = end
        yield lambda: _response(_finished(finish), failed)


def _finished(finish: Callable[[], Finished]) -> Finished:
    try:
        return finish()
    except ForkServerEndedError as error:
        done = error.finished
        raise ConvertError(
            f"the process that starts workers ended early: {reason(done)}",
            hint=hint(done) or _BROKEN_PYTHON,
        ) from error


def _argv(module: str, python: str | None) -> list[str]:
    if python is None or python == sys.executable:
        return python_command("-m", _PROGRAM, f"{_PACKAGE}.{module}")
    here = Path(__file__).parent
    file = here.parent.joinpath(*module.split(".")).with_suffix(".py")
    return python_command(str(here / "worker.py"), str(file), program=python)


def _response(done: Finished, failed: Failure) -> Json:
    if done.exit_code != 0 or not done.stdout:
        raise failed(done)
    return json.loads(done.stdout)


def _no_blas_threads() -> dict[str, str]:
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
            hint="load its library (--custom-ops), export without it, or replace it "
            "by a graph pass (--pass)",
        )
    text = reason(done).replace(f"{model.parent}/", "")  # a scratch folder
    return VerifyError(f"{what}: {text}", hint=hint(done))


def reason(done: Finished) -> str:
    """Say how a worker ended, with the last lines that it wrote."""
    if done.exit_code == 0:
        return "it ended the process without a response"
    text = " ".join(done.stderr.strip().splitlines()[-REASON_LINES:])
    return f"{done.ending}: {text}" if text else done.ending


def hint(done: Finished) -> str | None:
    """Say what may help, from how a worker ended."""
    if done.exit_code is None:
        return "raise --timeout"
    if done.exit_code == 0:
        return "code of the user must not end the process"
    if done.exit_code == -signal.SIGKILL or _OUT_OF_MEMORY.search(done.stderr):
        return "it probably ran out of memory: use smaller shapes or fewer samples"
    if _DISK_FULL.search(done.stderr):
        return free_space_hint()
    if done.exit_code < 0:
        return "the library crashed; nothing was kept"
    return None


def conversion_failed(what: str) -> Failure:
    """Return what makes the error of a worker that is not the gate's."""
    return lambda done: ConvertError(f"{what}: {reason(done)}", hint=hint(done))


def run_failed(path: Path, what: str) -> Failure:
    """Return what makes the error of a worker that ran a model for the converter."""

    def failed(done: Finished) -> ConvertError:
        error = explain(path, done, what)
        return ConvertError(f"{path.name}: {error.message}", hint=error.hint)

    return failed
