"""A repository into a tar file, the same bytes for the same files; and back."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import open_regular, refuse_foreign_links
from triton_kit.transfer.placing import explain_disk, flush, new_folder, write_new
from triton_kit.transfer.tree import (
    FileFacts,
    Tree,
    check_paths,
    copy_hashed,
    read_tree,
)

MOST_FILES = 100_000
MOST_BYTES = 1 << 40
# Of a header that tarfile reads as a whole: a longer one is an attack.
_MOST_HEADER_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was packed or unpacked: where it is, its digest, its number of files."""

    path: Path
    digest: str
    files: int
    bytes: int


def pack(root: Path, output: Path) -> Packed:
    """Write a repository as a tar file: sorted, without times, owners and links.

    Raises:
        RepositoryError: a link leaves the repository, a file cannot be read or changes
            meanwhile, or the disk is in the way; there is no new file then.
        SpecError: `output` would be inside of the repository.
    """
    if output.absolute().resolve().is_relative_to(root.resolve()):
        raise SpecError(
            f"{output}: is inside of {root}, which is to be packed",
            hint="-o ../NAME.tar",
        )
    tree = read_tree(root)
    with explain_disk(output), _written(output) as file:
        _write(file, root, tree)
    return _packed(output, tree)


def _packed(path: Path, tree: Tree) -> Packed:
    return Packed(
        path=path, digest=tree.digest, files=len(tree.files), bytes=tree.bytes
    )


@contextmanager
def _written(output: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside `output`, which gets that name if the block succeeds."""
    refuse_foreign_links(output)
    if output.is_dir():
        raise SpecError(f"{output}: expected a file to write, found a folder")
    descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        Path(name).rename(output)
        flush(output.parent.absolute())
    finally:
        Path(name).unlink(missing_ok=True)


def _write(file: IO[bytes], root: Path, tree: Tree) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted([*tree.files, *tree.empty_folders, *_folders(tree)]):
            entry = tarfile.TarInfo(name)
            if name in tree.files:
                _add_file(tar, entry, root / name, tree.files[name])
            else:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)


def _folders(tree: Tree) -> set[str]:
    names = [*tree.files, *tree.empty_folders]
    return {str(f) for name in names for f in Path(name).parents} - {"."}


def _add_file(
    tar: tarfile.TarFile, entry: tarfile.TarInfo, path: Path, facts: FileFacts
) -> None:
    entry.size, entry.mode = facts.bytes, 0o755 if facts.executable else 0o644
    with open_regular(path) as source:
        hashing = _HashingReader(source)
        try:
            tar.addfile(entry, hashing)
        except OSError as error:  # tarfile's: fewer bytes than it was told
            if error.errno is not None:
                raise
        if source.read(1) or hashing.digest.hexdigest() != facts.sha256:
            raise RepositoryError(
                f"{path}: changed while it was packed", hint="pack it again"
            )


class _HashingReader(io.RawIOBase):
    """Reads from a file, and hashes what it reads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._file.read(size)
        self.digest.update(data)
        return data


def unpack(
    archive: Path,
    target: Path,
    *,
    max_bytes: int = MOST_BYTES,
    max_files: int = MOST_FILES,
    check: Callable[[Path], object] = lambda _: None,
) -> Packed:
    """Write the files of a tar file to a new folder: all of them, or nothing.

    Args:
        archive: an uncompressed tar file, of `pack` or of another program.
        target: a folder that is not there yet.
        max_bytes: the most that all files together may have.
        max_files: how many entries there may be.
        check: called with the folder before it gets its name; what it raises refuses
            it.

    Raises:
        RepositoryError: it is no such file or ends too early; it has a path that
            leaves the folder, a link, a device, a name twice, or more than the limits.
    """
    with new_folder(target) as stage:
        try:
            with archive.open("rb") as file:
                bounded = _BoundedReader(file)
                with tarfile.open(fileobj=bounded, mode="r:") as tar:
                    _extract(tar, archive, stage, max_bytes, max_files)
                    _require_end(file, tar.offset, archive)
        except tarfile.TarError as error:
            raise RepositoryError(
                f"{archive}: not a whole tar file: {error}",
                hint="a compressed one is uncompressed first: gunzip, unzstd",
            ) from error
        check(stage)
        tree = read_tree(stage)
    return _packed(target, tree)


class _BoundedReader(io.RawIOBase):
    """Reads a file in pieces only: no header makes the kit take all the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        if not 0 <= size <= _MOST_HEADER_BYTES:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()


def _extract(
    tar: tarfile.TarFile, archive: Path, stage: Path, max_bytes: int, max_files: int
) -> None:
    names, folders, size = dict[str, None](), dict[str, None](), 0
    for count, entry in enumerate(tar, start=1):
        name = entry.name.removeprefix("./").rstrip("/")
        if entry.isdir() and name in ("", "."):
            continue
        size += entry.size
        reason = _entry_fault(entry)
        if count > max_files:
            reason = f"there are more than {max_files:,} entries (--max-files)"
        if size > max_bytes:
            reason = f"the files have more than {max_bytes:,} bytes (--max-bytes)"
        if name in names or name in folders:
            reason = "the name is there twice"
        if reason:
            raise RepositoryError(f"{archive}: entry {name[:80]!r}: {reason}")
        _check_path(archive, name)
        (folders if entry.isdir() else names)[name] = None
        _write_entry(tar, entry, archive, stage / name)
    _check_path(archive, *names)


def _check_path(archive: Path, *names: str) -> None:
    try:
        check_paths(names)
    except RepositoryError as error:
        raise RepositoryError(f"{archive}: {error.message}") from error


def _entry_fault(entry: tarfile.TarInfo) -> str:
    if entry.issym() or entry.islnk():
        return "a link; only files and folders are unpacked"
    if entry.issparse() or not (entry.isreg() or entry.isdir()):
        return "neither a plain file nor a folder"
    return ""


def _write_entry(
    tar: tarfile.TarFile, entry: tarfile.TarInfo, archive: Path, path: Path
) -> None:
    if entry.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    source = tar.extractfile(entry)
    if source is None:
        raise RepositoryError(f"{archive}: entry {entry.name!r}: is no file")
    executable = bool(entry.mode & 0o100)
    _, size = write_new(
        path, lambda file: copy_hashed(source, file.write), executable=executable
    )
    if size != entry.size:
        raise RepositoryError(f"{archive}: ends in the midst of {entry.name!r}")


def _require_end(file: IO[bytes], offset: int, archive: Path) -> None:
    """Refuse an archive that was cut between two entries."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise RepositoryError(
            f"{archive}: ends too early, or has other bytes after its entries",
            hint="copy it again",
        )
