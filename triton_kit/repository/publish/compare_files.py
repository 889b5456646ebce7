"""Many files read at once: which of them are not as they were published.

Python runs one thread at a time, so each file costs few of its steps: threads take
whole groups of files, and read and hash outside the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

# A piece that fits a core's cache is hashed from there.
_PIECE_BYTES = 256 << 10
_GROUP_BYTES = 16 << 20
_GROUP_FILES = 64
# A pipe without a writer would block the opening.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not as it was published, and how it differs."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A file as it was published: its path, sha256 and size; None: not known."""

    path: str
    sha256: str
    bytes: int | None = None


def compare_files(expected: Sequence[ExpectedFile]) -> tuple[int, list[Problem]]:
    """Return how many bytes were read, and the files that differ.

    As many threads read as this process has cores. A pipe, a socket or a device in a
    file's place is reported and not read.
    """
    # The largest first: else the last thread reads it alone.
    order = sorted(expected, key=lambda file: -(file.bytes or 0))
    groups, lock = _groups(order), Lock()

    def work(_: int) -> tuple[int, list[Problem]]:
        buffer = memoryview(bytearray(_PIECE_BYTES))
        total, problems = 0, list[Problem]()
        while True:
            with lock:
                group = next(groups, None)
            if group is None:
                return total, problems
            for file in group:
                read, what = _compare(file, buffer)
                total += read
                if what:
                    problems.append(Problem(Path(file.path), what))

    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(work, range(threads)))
    return sum(read for read, _ in found), [p for _, wrong in found for p in wrong]


def _groups(files: Sequence[ExpectedFile]) -> Iterator[Sequence[ExpectedFile]]:
    begin = size = 0
    for at, file in enumerate(files):
        size += file.bytes or 0
        if size >= _GROUP_BYTES or at - begin >= _GROUP_FILES:
            yield files[begin : at + 1]
            begin, size = at + 1, 0
    yield files[begin:]


def _compare(file: ExpectedFile, buffer: memoryview) -> tuple[int, str]:
    """Return the bytes that were read, and how the file differs, or ""."""
    try:
        descriptor = os.open(file.path, _READ)
    except FileNotFoundError:
        return 0, "is missing"
    except OSError as error:
        return 0, kind_at(file.path) or f"cannot be read: {error.strerror}"
    try:
        return _compare_open(file, descriptor, buffer)
    except OSError as error:
        return 0, f"cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)


def _compare_open(
    file: ExpectedFile, descriptor: int, buffer: memoryview
) -> tuple[int, str]:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return 0, _not_a_file(found)
    if file.bytes is not None and found.st_size != file.bytes:
        return 0, f"has {found.st_size} bytes, not {file.bytes}"
    digest, read = hashlib.sha256(), 0
    while count := os.readv(descriptor, [buffer]):
        digest.update(buffer[:count])
        read += count
        if read == found.st_size:
            break
    is_same = digest.hexdigest() == file.sha256
    return read, "" if is_same else "differs from what was published"


def kind_at(path: str) -> str:
    """Return what is in a file's place, if it is no file; else ""."""
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    return "" if stat.S_ISREG(found.st_mode) else _not_a_file(found)


def _not_a_file(found: os.stat_result) -> str:
    return f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}, not a file"
