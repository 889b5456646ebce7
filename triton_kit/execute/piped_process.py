"""A program of the kit in a process of its own, with a pipe to it and a log."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from pathlib import Path

from triton_kit.process import describe_exit, python_command, start_service, tail

_DYING_S = 5.0


class PipedProcess:
    """Runs `python -m MODULE DESCRIPTOR WORDS...`; it ends with its end of the pipe.

    Args:
        module: the program; it gets the number of its end of the pipe first.
        words: its other arguments.
        folder: for the log, which is removed with the process.
        stop_within_s: how long it may take to end.
        env: its environment; None: that of this process.
    """

    def __init__(
        self,
        module: str,
        *words: str,
        folder: Path,
        stop_within_s: float,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._stop_within_s = stop_within_s
        self._stack = ExitStack()
        with tempfile.NamedTemporaryFile(suffix=".log", dir=folder, delete=False) as f:
            self._log = Path(f.name)
        self._stack.callback(self._log.unlink, missing_ok=True)
        self.connection, theirs = Pipe()
        with theirs:
            number = theirs.fileno()
            self._process: subprocess.Popen[bytes] = self._stack.enter_context(
                start_service(
                    python_command("-m", module, str(number), *words),
                    log=self._log,
                    stop_within_s=stop_within_s,
                    env=env,
                    pass_fds=(number,),
                )
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def ending(self, *, lines: int) -> str:
        """Say how a process ended that has or is about to, and its last lines."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING_S)
        code = self._process.returncode
        output = tail(self._log, lines=lines)
        ending = "it still runs" if code is None else describe_exit(code)
        return ending + (f": {output}" if output else "")

    def let_go(self) -> None:
        """Have it end, without a wait."""
        self.connection.close()

    def close(self, *, is_busy: bool = False) -> None:
        """End it, and what it started; a busy one would not see the end of its pipe."""
        self.let_go()
        if not is_busy:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._stop_within_s)
        self._stack.close()
