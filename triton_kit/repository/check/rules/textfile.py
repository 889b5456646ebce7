"""Files that a config names."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def is_special(path: Path) -> bool:
    """Say whether a path, links followed, is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def unreadable(path: Path) -> str:
    """Return why the server could not open a text file; empty if it could."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return ""
        if not stat.S_ISREG(mode):  # to open a pipe would wait for ever
            return f"failed to open text file for read {path}: not a regular file"
        with path.open("rb"):
            return ""
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else "No such file or directory"
        return f"failed to open text file for read {path}: {reason}"
