"""Files of results: readers see all of one or nothing."""

from __future__ import annotations

from pathlib import Path

from triton_kit.files import staged_beside, write_whole


def write_text(path: Path, text: str) -> None:
    """Write a file whole, beside it first; a pipe or a device is written to.

    Raises:
        OSError: it cannot be written.
    """
    if _is_special(path):
        path.write_text(text, encoding="utf-8")
    else:
        write_whole(path, text)


def try_to_write(path: Path) -> None:
    """Find out whether a file could be written, and leave everything as it is.

    Raises:
        OSError: it could not.
    """
    if _is_special(path):
        return  # to open a pipe would wait for its reader
    staged = staged_beside(path.resolve())
    staged.touch()
    staged.unlink()


def _is_special(path: Path) -> bool:
    """Say whether a path is a pipe, a device or the like; raises OSError for none."""
    return path.exists() and not path.is_file()
