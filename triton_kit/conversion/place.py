"""Files appear at their place whole, or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from triton_kit.errors import ConvertError, SpecError
from triton_kit.files import copy_new

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def room_for(source: Path | str) -> Iterator[None]:
    """Turn a full disk, or memory that does not suffice, into an error of the kit.

    Raises:
        ConvertError: there is no room for what the conversion of `source` needs.
    """
    try:
        yield
    except MemoryError as error:
        raise ConvertError(
            f"{source}: out of memory: {error}", hint="use smaller shapes (--shapes)"
        ) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ConvertError(
            f"{source}: no room to convert it: {error.strerror}", hint=room_hint()
        ) from error


def room_hint() -> str:
    """Say where room is needed."""
    return (
        f"free some disk space in {tempfile.gettempdir()} and at the output, or point "
        "TMPDIR elsewhere"
    )


def keep_apart(source: Path | str, written: Sequence[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        SpecError: a path that will be written is the source, by whatever name.
    """
    if not isinstance(source, Path) or not source.exists():
        return  # whoever reads it will say so
    for path in written:
        if path.exists() and path.samefile(source):
            raise SpecError(
                f"{source}: the artifact would be written over it, as {path}",
                hint="choose another output folder",
            )


def same_file(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be.

    Whoever writes to one of them may write to both: neither is to be changed.
    """
    try:
        os.link(source, target)
    except OSError:
        copy_new(source, target)


def place(files: Sequence[Path], folder: Path, *, copies: bool = False) -> None:
    """Bring files into a folder: all are put beside their names, then renamed.

    The folder is made where it is not there. With `copies` the files stay apart from
    those in the folder; without, they are about to be removed.

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
            partial.unlink(missing_ok=True)  # of one that was killed
            copy_new(file, partial) if copies else same_file(file, partial)
        for partial, target in staged:
            partial.replace(target)
    except OSError as error:
        raise ConvertError(
            f"{folder}: cannot write it: {error.strerror}",
            hint="what was there before is still there",
        ) from error
    finally:
        for partial, _ in staged:
            partial.unlink(missing_ok=True)
        if not was_there:
            with suppress(OSError):  # only an empty folder can be removed
                folder.rmdir()
