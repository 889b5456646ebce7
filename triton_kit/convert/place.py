"""Files appear at their place whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from triton_kit.errors import ConvertError


def place(files: Sequence[Path], folder: Path) -> None:
    """Copy files into a folder: all are written beside their names, then renamed.

    The folder is made where it is not there.

    Raises:
        ConvertError: the disk is full or the folder cannot be written; what was there
            before is still there.
    """
    staged: list[tuple[Path, Path]] = []
    was_there = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            target = folder / file.name
            partial = target.with_name(f".{target.name}.partial")
            staged.append((partial, target))
            shutil.copy(file, partial)
        for partial, target in staged:
            partial.replace(target)
    except OSError as error:
        raise ConvertError(f"{folder}: cannot write it: {error.strerror}") from error
    finally:
        for partial, _ in staged:
            partial.unlink(missing_ok=True)
        if not was_there:
            with suppress(OSError):  # only an empty folder can be removed
                folder.rmdir()
