"""Child processes: each has a deadline, and stops together with its own children."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import IO

from triton_kit.errors import SpecError
from triton_kit.files import refuse_foreign_links

_log = logging.getLogger(__name__)

LOG_TAIL_LINES = 20
# ONNX Runtime's wheels from 1.31 on send what they do to Microsoft, in a thread.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}
Handler = Callable[[int, FrameType | None], object] | int | None


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child process ended, and what it wrote.

    `exit_code` is negative if a signal ended the child, and None if the deadline did.
    """

    exit_code: int | None
    stdout: str
    stderr: str

    @property
    def ending(self) -> str:
        """The end in words: `exit code 3`, `killed by SIGSEGV` or `out of time`."""
        if self.exit_code is None:
            return "out of time"
        return describe_exit(self.exit_code)


def describe_exit(code: int) -> str:
    """Return in words how a process ended, from `Popen.returncode`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def python_command(*words: str, program: str = sys.executable) -> list[str]:
    """Return the command that runs Python, without the current folder on its path.

    `python -m` and `python -c` import from the current folder first: a `typing.py` in a
    folder of downloads would run in every child. `-P` takes the folder off. Another
    Python may be older than 3.11 and not know `-P`: `-I` takes it off there, and with
    it PYTHONPATH, which is meant for this Python.
    """
    return [program, "-P" if program == sys.executable else "-I", *words]


def run_child(
    argv: Sequence[str],
    *,
    deadline_s: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Finished:
    """Run a child to its end; kill it and its children at the deadline."""
    with start_child(
        argv, deadline_s=deadline_s, stdin=stdin, env=env, cwd=cwd
    ) as finish:
        return finish()


@contextmanager
def start_child(
    argv: Sequence[str],
    *,
    deadline_s: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Callable[[], Finished]]:
    """Start a child, yield a function that waits for its end, kill it on the way out.

    The deadline counts from the start. The yielded function kills the child and its
    children at the deadline; a child that ended before it counts as ended in time, even
    if the function is called later. A child that writes more than a pipe holds blocks
    until the function is called.
    """
    end_s = time.monotonic() + deadline_s
    _log.debug("running %s", shlex.join(argv))
    source: AbstractContextManager[IO[str] | int] = nullcontext(subprocess.DEVNULL)
    if stdin is not None:
        source = stdin_from(stdin)
    with source as given, hold_signals() as release:
        process = subprocess.Popen(
            _tied_to_parent(argv),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        with process:
            try:
                release()
                yield lambda: _finish(process, end_s)
            finally:
                _kill_group(process.pid)


@contextmanager
def stdin_from(text: str) -> Iterator[IO[str]]:
    """Yield a file that holds `text`: with a pipe, a thread would have to write it."""
    # In memory: a child must start even if the disk is full.
    with os.fdopen(os.memfd_create("stdin"), "w+", encoding="utf-8") as file:
        file.write(text)
        file.seek(0)
        yield file


def _finish(process: subprocess.Popen[str], end_s: float) -> Finished:
    if process.poll() is not None:
        # Its own children may still run, and would keep its output open.
        _kill_group(process.pid)
        stdout, stderr = process.communicate()
        return Finished(process.returncode, stdout, stderr)
    try:
        stdout, stderr = process.communicate(timeout=max(0, end_s - time.monotonic()))
        return Finished(process.returncode, stdout, stderr)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid)
        stdout, stderr = process.communicate()
        return Finished(None, stdout, stderr)


@contextmanager
def start_service(
    argv: Sequence[str],
    *,
    log: Path,
    stop_within_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a long-running child, yield it, stop it and its children on the way out.

    Its output goes to `log`. On the way out it gets SIGTERM, and SIGKILL after
    `stop_within_s`. It has a session of its own: Ctrl-C in the terminal reaches only
    this process, which then stops the child.

    Raises:
        SpecError: `log` cannot be written.
    """
    with hold_signals() as release:
        with _open_log(log) as output:
            process = subprocess.Popen(
                _tied_to_parent(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        try:
            release()
            yield process
        finally:
            stop(process, within_s=stop_within_s)


def _open_log(log: Path) -> IO[bytes]:
    try:
        refuse_foreign_links(log)
        return log.open("wb")
    except OSError as error:
        raise SpecError(
            f"{log}: cannot write a log there: {error.strerror}",
            hint="name a file in a folder that exists and that you may write",
        ) from error


def _tied_to_parent(argv: Sequence[str]) -> list[str]:
    """Return a command that the kernel ends if this process is killed.

    Linux ties a child to the thread that starts it, and a thread may end before the
    child should: so this applies to the main thread only. Popen's `preexec_fn` would
    run Python between fork and exec, which can deadlock if there are threads.
    """
    return [*_death_signal(), *argv] if _is_main_thread() else [*argv]


@cache
def _death_signal() -> tuple[str, ...]:
    """Return the words that tie a command to its parent; none if setpriv cannot.

    The setpriv of util-linux before 2.33 (RHEL 8) and of busybox lacks the option.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    words = (setpriv, "--pdeathsig", "TERM", "--")
    probe = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if probe.returncode == 0 else ()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def hold_signals() -> Iterator[Callable[[], None]]:
    """Hold back Ctrl-C and SIGTERM until the yielded function is called, or to the end.

    Their handlers raise wherever the program is. Raised inside Popen, the child would
    run on, and no code would know its process id.
    """
    came: list[int] = []
    before: dict[int, Handler] = {}

    def hold(number: int, _: FrameType | None) -> None:
        came.append(number)

    def release() -> None:
        while before:
            signal.signal(*before.popitem())
        while came:
            signal.raise_signal(came.pop())

    try:
        if _is_main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.getsignal(number)
                signal.signal(number, hold)
        yield release
    finally:
        release()


def stop(process: subprocess.Popen[bytes], *, within_s: float) -> None:
    """Stop a child of `start_service`: SIGTERM, then SIGKILL to its whole group."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(within_s)
    finally:
        _kill_group(process.pid)
        process.wait()


def tail(log: Path, *, lines: int = LOG_TAIL_LINES) -> str:
    """Return the last lines of a log; empty if there is no log."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
