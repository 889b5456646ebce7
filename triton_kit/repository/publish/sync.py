"""Bytes onto the disk: files are copied and hashed in one go, and flushed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import threading
from pathlib import Path
from queue import SimpleQueue

from triton_kit.errors import RepositoryError
from triton_kit.files import open_regular

_CLONE = 0x40049409  # FICLONE: share the blocks, where the file system can
_PIECE_BYTES = 16 << 20
_SMALL_BYTES = 4 << 20
_START_WRITING = 2  # SYNC_FILE_RANGE_WRITE
_NO_COPY_IN_KERNEL = {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}


def flush(path: Path) -> None:
    """Make a file, or the entries of a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_hashed(source: Path, target: Path) -> str:
    """Copy a file to a new name and onto the disk; return the copy's sha256.

    The digest is that of the copy, read as it is written.

    Raises:
        RepositoryError: the source changed on the way.
        OSError: it cannot be read, or the copy cannot be written.
    """
    with open_regular(source) as read, target.open("xb") as written:
        before = os.fstat(read.fileno())
        size = before.st_size
        if size <= _SMALL_BYTES:
            content = read.read()
            written.write(content)
            written.flush()
            digest = hashlib.sha256(content).hexdigest()
            size = len(content)
        else:
            digest = _copy_large(read.fileno(), written.fileno(), size)
        os.fchmod(written.fileno(), _mode(target, before))
        os.fsync(written.fileno())
        if _state(os.fstat(read.fileno())) != _state(before) or size != before.st_size:
            raise RepositoryError(
                f"{source}: changed while it was copied",
                hint="wait until its writer is done",
            )
    return digest


def _mode(target: Path, source: os.stat_result) -> int:
    # Programs stay programs: the Python backend's stub, for one.
    return 0o755 if source.st_mode & 0o100 else target.stat().st_mode & 0o777


def _state(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _copy_large(source: int, target: int, size: int) -> str:
    pieces: SimpleQueue[tuple[int, int]] = SimpleQueue()
    digest = hashlib.sha256()
    failures: list[OSError] = []

    def hash_pieces() -> None:
        reader = os.open(f"/proc/self/fd/{target}", os.O_RDONLY)
        try:
            buffer = bytearray(1 << 20)
            while (piece := pieces.get())[1]:
                _hash(reader, piece, buffer, digest)
        except OSError as error:
            failures.append(error)
        finally:
            os.close(reader)

    hasher = threading.Thread(target=hash_pieces)
    hasher.start()
    try:
        _fill(source, target, size, pieces)
    finally:
        pieces.put((0, 0))
        if not failures:
            os.fsync(target)  # while the last pieces are hashed
        hasher.join()
    if failures:
        raise failures[0]
    return digest.hexdigest()


def _fill(
    source: int, target: int, size: int, pieces: SimpleQueue[tuple[int, int]]
) -> None:
    """Copy all bytes; put each piece that is there into `pieces`."""
    try:
        fcntl.ioctl(target, _CLONE, source)
    except OSError:
        done = 0
    else:
        done = size
        for start in range(0, size, _PIECE_BYTES):
            pieces.put((start, min(_PIECE_BYTES, size - start)))
    start_writing = getattr(ctypes.CDLL(None), "sync_file_range", None)
    while done < size:
        count = _copy_piece(source, target, done, min(_PIECE_BYTES, size - done))
        if not count:  # it shrank: the caller notices
            return
        pieces.put((done, count))
        if start_writing is not None:
            offsets = ctypes.c_int64(done), ctypes.c_int64(count)
            start_writing(target, *offsets, _START_WRITING)
        done += count


def _copy_piece(source: int, target: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, at, at)
    except OSError as error:
        if error.errno not in _NO_COPY_IN_KERNEL:
            raise
    return os.pwrite(target, os.pread(source, count, at), at)


def _hash(
    reader: int, piece: tuple[int, int], buffer: bytearray, digest: hashlib._Hash
) -> None:
    at, left = piece
    view = memoryview(buffer)
    while left:
        count = os.preadv(reader, [view[: min(left, len(buffer))]], at)
        if not count:
            raise OSError(errno.EIO, "the copy is shorter than what was written")
        digest.update(view[:count])
        at, left = at + count, left - count
