"""Folders for work in progress; those of kits that were killed are swept."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A folder is locked right after it is made.
_YOUNG_S = 60.0


@contextmanager
def scratch_folder(
    kind: str = "work", *, before_sweep: Callable[[Path], None] = lambda _: None
) -> Iterator[Path]:
    """Yield a new folder for this user only; it is removed in the end.

    A kit that was killed could not remove its own. The kernel drops the lock on it
    then, whatever container that kit ran in: such folders are removed first.

    Args:
        kind: a word of its name; folders of this kind are swept.
        before_sweep: called with a folder that a killed kit left, before its removal.
    """
    prefix = f"triton-kit-{kind}-"
    with suppress(OSError):
        _sweep(prefix, before_sweep)
    with tempfile.TemporaryDirectory(prefix=prefix) as name, _locked(Path(name)):
        yield Path(name)


def _sweep(prefix: str, before_sweep: Callable[[Path], None]) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _YOUNG_S:
                continue
            with _locked(folder):
                before_sweep(folder)
                shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; raises BlockingIOError if another process does."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
