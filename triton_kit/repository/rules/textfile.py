"""Files that a config names."""

from __future__ import annotations

import os
from pathlib import Path


def unreadable(path: Path) -> str:
    """Return why the server could not open a text file; empty if it could."""
    try:
        with path.open("rb"):
            return ""
    except IsADirectoryError:
        return ""
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else "No such file or directory"
        return f"failed to open text file for read {path}: {reason}"
