"""Child processes: bounded in time, and stopped together with their children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import IO

from triton_kit.errors import SpecError

LOG_TAIL_LINES = 20
Handler = Callable[[int, FrameType | None], object] | int | None


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child process ended, and what it wrote.

    `exit_code` is negative for the signal that ended it; None when the deadline did.
    """

    exit_code: int | None
    stdout: str
    stderr: str

    @property
    def ending(self) -> str:
        """The end in words: `exit code 3`, `killed by SIGSEGV`, `out of time`."""
        if self.exit_code is None:
            return "out of time"
        return describe_exit(self.exit_code)


def describe_exit(code: int) -> str:
    """Say how a process ended, from `Popen.returncode`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def run_child(
    argv: Sequence[str],
    *,
    deadline_s: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a child to its end, or kill it and all its children at the deadline."""
    with begun(argv, deadline_s=deadline_s, stdin=stdin, env=env) as finish:
        return finish()


@contextmanager
def begun(
    argv: Sequence[str],
    *,
    deadline_s: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Callable[[], Finished]]:
    """Start a child and yield what waits for its end; kill it on the way out.

    Whoever waits kills it, with all its children, at the deadline, which counts from
    the start; one that has ended by then has ended well. A child that writes more than
    a pipe holds is held up until somebody waits.
    """
    end_s = time.monotonic() + deadline_s
    with _as_file(stdin) as source, signals_held() as release:
        process = subprocess.Popen(
            _not_outliving_us(argv),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env,
            start_new_session=True,
        )
        with process:
            try:
                release()
                yield lambda: _finish(process, end_s)
            finally:
                _kill_group(process.pid)


@contextmanager
def _as_file(text: str | None) -> Iterator[IO[str] | int]:
    """Yield what a child reads `text` from, without anybody who writes it."""
    if text is None:
        yield subprocess.DEVNULL
        return
    # In memory: a full disk must not keep a child from starting.
    with os.fdopen(os.memfd_create("stdin"), "w+", encoding="utf-8") as file:
        file.write(text)
        file.seek(0)
        yield file


def _finish(process: subprocess.Popen[str], end_s: float) -> Finished:
    if process.poll() is not None:
        # It ended in time, however late somebody asks. Its own children, if any are
        # left, would keep its output open.
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
def started(
    argv: Sequence[str],
    *,
    log: Path,
    stop_within_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a long-running child, yield it, stop it and its children on the way out.

    Its output goes to `log`. It is asked to stop by SIGTERM and killed once
    `stop_within_s` have passed. It has a session of its own, so that Ctrl-C in the
    terminal reaches us alone and the child is stopped once, by us.

    Raises:
        SpecError: `log` cannot be written.
    """
    with signals_held() as release:
        with _opened(log) as output:
            process = subprocess.Popen(
                _not_outliving_us(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        try:
            release()
            yield process
        finally:
            stop(process, within_s=stop_within_s)


def _opened(log: Path) -> IO[bytes]:
    try:
        return log.open("wb")
    except OSError as error:
        raise SpecError(
            f"{log}: cannot write a log there: {error.strerror}",
            hint="name a file in a folder that is there and may be written",
        ) from error


def _not_outliving_us(argv: Sequence[str]) -> list[str]:
    """Have the kernel end a child whose parent was killed and could not.

    Linux takes the thread that starts a child for its parent, so this is for the main
    thread alone: any other may end before the child should. An option of Popen's would
    have Python code run between fork and exec, which threads do not survive.
    """
    return [*_death_signal(), *argv] if _is_main_thread() else [*argv]


@cache
def _death_signal() -> tuple[str, ...]:
    """Return the words before a command that tie it to us; none where nothing can.

    That setpriv is there is not enough: util-linux before 2.33 (RHEL 8) and busybox
    have one without this option.
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
def signals_held() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C and SIGTERM back until what is yielded is called, or to the end.

    Their handlers raise wherever the program is. In the middle of Popen, the child is
    running and nobody knows of it.
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
    """End a child that `started` began: SIGTERM, then SIGKILL to its whole group."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(within_s)
    finally:
        _kill_group(process.pid)
        process.wait()


def tail(log: Path, *, lines: int = LOG_TAIL_LINES) -> str:
    """Return the last lines of a log; empty where there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
