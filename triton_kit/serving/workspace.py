"""The folder that one embedded server runs in; those of killed kits are swept."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triton_kit.serving.memory import remove_regions

_PREFIX = "triton-kit-server-"
_MEMORY_NOTE = "shared-memory"
# A folder is locked right after it is made.
_YOUNG_S = 60.0


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a new folder for this user only; it is removed in the end.

    A kit that was killed could not remove its own. The kernel drops the lock on it
    then, whatever container that kit ran in: such folders are removed first.
    """
    with suppress(OSError):
        _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, _locked(Path(name)):
        yield Path(name)


def note_memory(folder: Path, prefix: str) -> None:
    """Note which shared memory belongs to the server in a workspace."""
    with (folder / _MEMORY_NOTE).open("a", encoding="utf-8") as file:
        file.write(f"{prefix}\n")


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _YOUNG_S:
                continue
            with _locked(folder):
                note = folder / _MEMORY_NOTE
                prefixes = note.read_text("utf-8").split() if note.is_file() else []
                for prefix in prefixes:
                    remove_regions(prefix)
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
