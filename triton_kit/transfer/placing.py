"""A folder that appears whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from triton_kit.errors import RepositoryError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_HINT = "free space on that disk, then run the command again"


def require_new_folder(target: Path) -> None:
    """Refuse a path where there is something already; an empty folder is nothing.

    Raises:
        RepositoryError: there is.
    """
    if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise RepositoryError(
            f"{target}: expected a new folder, found "
            + ("a folder with files" if target.is_dir() else "a file"),
            hint="name a folder that is not there yet",
        )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target`, which gets that name if the block succeeds.

    Raises:
        RepositoryError: `target` is there already, or the disk is in the way. Nothing
            is left then.
    """
    target = target.absolute()
    with explain_disk(target):
        require_new_folder(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            with _naming(target, stage), explain_disk(stage):
                yield stage
            stage.chmod(0o755)
            require_new_folder(target)
            stage.rename(target)
            flush(target.parent)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _naming(target: Path, stage: Path) -> Iterator[None]:
    """Say `target` where an error names the folder that is still beside it."""
    try:
        yield
    except RepositoryError as error:
        message = error.message.replace(str(stage), str(target))
        raise RepositoryError(message, hint=error.hint) from error


@contextmanager
def explain_disk(path: Path) -> Iterator[None]:
    """Say of an error of the operating system what was to be written.

    Raises:
        RepositoryError: there was one.
    """
    try:
        yield
    except OSError as error:
        raise RepositoryError(
            f"{error.filename or path}: cannot write it: {error.strerror}",
            hint=_FULL_HINT if error.errno in FULL else None,
        ) from error


def write_new(
    path: Path,
    copy: Callable[[IO[bytes]], tuple[str, int]],
    *,
    executable: bool = False,
) -> tuple[str, int]:
    """Create a file and its folders; return what `copy` returned, once it is on disk.

    Raises:
        OSError: it is there already, or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:
        copied = copy(file)
        file.flush()
        os.fchmod(file.fileno(), 0o755 if executable else 0o644)
        os.fsync(file.fileno())
    return copied


def flush(folder: Path) -> None:
    """Make the entries of a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
