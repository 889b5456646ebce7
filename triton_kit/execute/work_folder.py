"""Folders of tasks, below one of their process."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from triton_kit.scratch import scratch_folder


@contextmanager
def work_folder() -> Iterator[Path]:
    """Yield a new folder, which is removed in the end.

    If the process is killed, the next process that runs tasks removes it.
    """
    with tempfile.TemporaryDirectory(dir=_folder_of_process()) as name:
        yield Path(name)


@cache
def _folder_of_process() -> Path:
    """Return a folder for as long as this process runs: to sweep takes milliseconds."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(scratch_folder("task"))
