"""Files of the user: read up to a limit, and written whole or not at all.

In a shared folder such as /tmp, another user can leave links and pipes under names that
this user will write. So staged files have random names and are created exclusively, and
links of other users are not followed.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import select
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

from triton_kit.errors import SpecError

Json = Any
TEXT_BYTES = 16 << 20  # of a file that people write
DATA_BYTES = 1 << 30  # of a file that programs write
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_SILENT_S = 60.0  # of a pipe


def read_bytes(path: Path, *, limit: int = TEXT_BYTES) -> bytes:
    """Read a file, a pipe or a device up to a limit.

    Raises:
        SpecError: it cannot be read, is larger than `limit`, or is a pipe that stays
            silent for a minute.
    """
    try:
        # A pipe without a writer would block the opening.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if os.fstat(descriptor).st_size <= limit:
                content = _read_all(file, limit + 1, path)
                if len(content) <= limit:
                    return content
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"{path}: cannot read it: {reason}") from error
    raise SpecError(f"{path}: larger than {limit >> 20} MiB, the limit for this file")


def _read_all(file: IO[bytes], most: int, path: Path) -> bytes:
    content, readable = bytearray(), select.poll()
    readable.register(file, select.POLLIN)
    while len(content) < most:
        if not readable.poll(_SILENT_S * 1000):
            raise SpecError(f"{path}: no data came for {_SILENT_S:g} s")
        chunk = file.read(min(_CHUNK_BYTES, most - len(content)))
        if chunk == b"":
            break
        content += chunk or b""  # None: another process emptied the pipe
    return bytes(content)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file; to open a pipe would block, and a device may never end.

    Raises:
        OSError: it is not one, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_text(path: Path, *, limit: int = TEXT_BYTES) -> str:
    """Read a UTF-8 text; as `read_bytes`, and a SpecError if it is not UTF-8."""
    try:
        return read_bytes(path, limit=limit).decode()
    except UnicodeDecodeError as error:
        found = error.object[error.start]
        raise SpecError(
            f"{path}: not a UTF-8 text: byte {error.start} is {found:#x}"
        ) from error


def read_json(path: Path, *, limit: int = DATA_BYTES) -> Json:
    """Read a JSON document; as `read_text`, and a SpecError if it is not JSON."""
    return json_from(read_text(path, limit=limit), str(path))


def json_from(text: str | bytes, source: str) -> Json:
    """Parse JSON that another program wrote.

    Raises:
        SpecError: it is not JSON, or is nested too deep; the message begins with
            `source`.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise SpecError(f"{source}: not JSON: its values are nested too deep") from None
    except ValueError as error:
        raise SpecError(f"{source}: not JSON: {error}") from error


def write_whole(path: Path, content: str | bytes, *, executable: bool = False) -> None:
    """Write a file under a random name beside its place, then rename it.

    A link stays a link, and the file that it names is replaced. A replaced file keeps
    its mode and, if the system allows it, its owner; a new one gets them by the umask.

    Raises:
        OSError: the file cannot be written, and what was there is still there; or a
            link on the way is another user's.
    """
    with _staged(path, executable=executable) as (file, commit):
        if isinstance(content, str):
            file.write(content)
        else:
            file.buffer.write(content)
        commit()


def write_all(files: Mapping[Path, str]) -> None:
    """Write several files, and their folders: all of them, or none.

    Every text is on the disk before the first file gets its name.

    Raises:
        OSError: one of them cannot be written; what was there is still there.
    """
    made: list[Path] = []
    try:
        with ExitStack() as stack:
            commits = []
            for path, text in files.items():
                _make_folders(path.parent, made)
                file, commit = stack.enter_context(_staged(path))
                file.write(text)
                file.flush()
                commits.append(commit)
            for commit in commits:
                commit()
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it; add the new ones, the outermost first."""
    for each in [f for f in (folder, *folder.parents) if not f.exists()][::-1]:
        each.mkdir()
        made.append(each)


def check_writable(path: Path) -> None:
    """Try whether `write_whole` could write a file, and change nothing.

    Raises:
        OSError: it could not.
    """
    with _staged(path):
        pass


def copy_new(source: Path, target: Path) -> None:
    """Copy a file and its mode to a name that no file and no link has.

    Raises:
        OSError: the name exists, or the copy failed; no part of it is left.
    """
    with source.open("rb") as read:
        descriptor = os.open(target, _NEW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as written:
                shutil.copyfileobj(read, written, _CHUNK_BYTES)
                os.fchmod(descriptor, os.fstat(read.fileno()).st_mode & 0o777)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


@contextmanager
def _staged(
    path: Path, *, executable: bool = False
) -> Iterator[tuple[TextIO, Callable[[], None]]]:
    """Yield a new file beside `path`, and a function that gives it that name."""
    refuse_foreign_links(path)
    target = path.resolve()
    # By its descriptor: the folder stays the same one if its name is given to another.
    folder = os.open(target.parent, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    name = f".triton-kit-{secrets.token_hex(8)}"
    try:
        descriptor = os.open(name, _NEW, 0o777 if executable else 0o666, dir_fd=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            with suppress(FileNotFoundError):
                old = os.stat(target.name, dir_fd=folder, follow_symlinks=False)
                _keep_owner_and_mode(descriptor, old, executable=executable)

            def commit() -> None:
                file.flush()
                os.rename(name, target.name, src_dir_fd=folder, dst_dir_fd=folder)

            yield file, commit
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        os.close(folder)


def _keep_owner_and_mode(
    descriptor: int, old: os.stat_result, *, executable: bool
) -> None:
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    mode = old.st_mode & 0o777
    if executable:
        mode |= (mode & 0o444) >> 2  # users who may read it may run it
    with suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, mode)


def cache_folder() -> Path:
    """Return the kit's own folder for what can be made again at any time.

    Raises:
        SpecError: this user has no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    # An XDG path that is not absolute is to be ignored, says its specification.
    root = Path(base) if base and Path(base).is_absolute() else Path("~/.cache")
    try:
        return root.expanduser() / "triton-kit"
    except RuntimeError as error:
        raise SpecError(
            f"no folder for the cache: user {os.geteuid()} has no home folder",
            hint="set HOME, or XDG_CACHE_HOME to a folder",
        ) from error


def default_cache() -> Path:
    """Return the user's folder of finished conversions; $TRITON_KIT_CACHE sets it."""
    given = os.environ.get("TRITON_KIT_CACHE")
    return Path(given) if given else cache_folder() / "conversions"


def require_folder(path: Path, what: str) -> None:
    """Refuse a folder that cannot be made, as a file is in its place or above it.

    Raises:
        SpecError: `what` (`the cache`) would be there.
    """
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise SpecError(
                    f"{part}: expected a folder for {what}, found a file",
                    hint="name another folder",
                )
            return


def make_cache(folder: Path) -> None:
    """Create a cache folder for this user only, where there is none.

    Raises:
        OSError: it cannot be created.
        SpecError: it is another user's, or others can write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_shared_cache(folder)


def refuse_shared_cache(folder: Path) -> None:
    """Refuse a cache, or an entry of one, that other users can change.

    What is in it is loaded and served. Root is trusted, and the user's own group.

    Raises:
        SpecError: it is another user's, or others can write to it.
    """
    if os.environ.get("TRITON_KIT_SHARED_CACHE") == "1":
        return
    found = folder.stat()
    is_ours = found.st_uid in (os.geteuid(), 0)
    writers = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid != os.getegid() else 0)
    if is_ours and not found.st_mode & writers:
        return
    raise SpecError(
        f"{folder}: "
        + ("other users can write to" if is_ours else "another user owns")
        + " this cache, and could change what is built or served",
        hint="choose another folder (--cache, XDG_CACHE_HOME), or trust this one with "
        "TRITON_KIT_SHARED_CACHE=1",
    )


def refuse_foreign_links(path: Path) -> None:
    """Refuse a path with a link that another user left in a folder all may write.

    Raises:
        PermissionError: there is one; `filename` names it.
    """
    ahead, seen = [path.absolute()], set[Path]()
    while ahead:
        place = ahead.pop()
        for part in (*place.parents, place):
            if part in seen or not part.is_symlink():
                continue
            seen.add(part)
            folder, link = part.parent.stat(), part.lstat()
            is_shared = folder.st_mode & stat.S_IWOTH
            if is_shared and link.st_uid not in (os.geteuid(), folder.st_uid):
                raise PermissionError(
                    errno.EACCES, "a link of another user leads there", str(part)
                )
            ahead.append(part.parent / part.readlink())
