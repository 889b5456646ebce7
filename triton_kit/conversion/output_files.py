"""The files of an artifact: published together, or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from triton_kit.errors import ConvertError, SpecError
from triton_kit.files import copy_new

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def require_free_space(source: Path | str) -> Iterator[None]:
    """Turn a full disk or memory into an error of the kit.

    Raises:
        ConvertError: the conversion of `source` needs more than there is.
    """
    try:
        yield
    except MemoryError as error:
        raise ConvertError(
            f"{source}: out of memory: {error}", hint="use smaller shapes (--shape)"
        ) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ConvertError(
            f"{source}: not enough disk space to convert it: {error.strerror}",
            hint=free_space_hint(),
        ) from error


def free_space_hint() -> str:
    """Say where space is needed."""
    return (
        f"free some disk space in {tempfile.gettempdir()} and at the output, or point "
        "TMPDIR elsewhere"
    )


def refuse_overlap(source: Path | str, written: Sequence[Path]) -> None:
    """Refuse to overwrite the source.

    Raises:
        SpecError: a path that will be written is the source, by whatever name.
    """
    if not isinstance(source, Path) or not source.exists():
        return  # reading it reports that
    for path in written:
        if path.exists() and path.samefile(source):
            raise SpecError(
                f"{source}: the artifact would be written over it, as {path}",
                hint="choose another output folder",
            )


def require_writable(folder: Path) -> None:
    """Refuse an output folder before the work that would be lost there.

    Raises:
        ConvertError: the folder, or the one that it will be made in, cannot be written.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    elif not os.access(place, os.W_OK | os.X_OK):
        reason = os.strerror(errno.EACCES)
    else:
        return
    raise ConvertError(
        f"{folder}: cannot write it: {reason}", hint="choose another output folder"
    )


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be.

    A write to one of them may change both: neither may be written to.
    """
    try:
        os.link(source, target)
    except OSError:
        copy_new(source, target)


def publish_files(files: Sequence[Path], folder: Path, *, copies: bool = False) -> None:
    """Publish files in a folder: all are written beside their names, then renamed.

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
            partial.unlink(missing_ok=True)  # left by a killed conversion
            copy_new(file, partial) if copies else link_or_copy(file, partial)
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
