"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, executable: bool = False) -> None:
    """Write a file beside its place, then rename it; a link stays one.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    target = path.resolve()
    staged = staged_beside(target)
    try:
        staged.write_text(text, encoding="utf-8", newline="")
        if executable:
            staged.chmod(0o755)
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


def staged_beside(target: Path) -> Path:
    """Return where this process writes a file before it is renamed."""
    return target.with_name(f".triton-kit-{os.getpid()}")
