"""Files of results: readers see all of one or nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from triton_kit.files import check_writable, refuse_foreign_links, write_whole


def write_text(path: Path, text: str) -> None:
    """Write a file whole; write into a pipe or a device.

    Raises:
        OSError: it cannot be written.
    """
    if not _is_special(path):
        write_whole(path, text)
        return
    refuse_foreign_links(path)
    # Without O_CREAT and O_TRUNC: a file that took the place meanwhile stays whole.
    descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileExistsError(f"{path} was a pipe and became a file")
        file.write(text)


def try_to_write(path: Path) -> None:
    """Try whether a file could be written, and change nothing.

    Raises:
        OSError: it could not.
    """
    if not _is_special(path):  # to open a pipe would wait for its reader
        check_writable(path)


def _is_special(path: Path) -> bool:
    """Say whether a path is a pipe or a device; raises OSError for what none can be."""
    return path.exists() and not path.is_file()
