"""A folder into the list of its files, by content; that list into a digest, and back.

The digest names a repository wherever it is: the same files give the same digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import json_from, open_regular

SCHEMA = 1
CHUNK_BYTES = 1 << 20
BYTECODE = "__pycache__"
_LONGEST_PATH, _LONGEST_NAME = 1024, 255
_MOST_FOLDERS = 64  # one inside another


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file is: the hex digest of its bytes, their number, whether it runs."""

    sha256: str
    bytes: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a folder by their path in it, and the folders that are empty."""

    files: Mapping[str, FileFacts]
    empty_folders: tuple[str, ...] = ()
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_paths([*self.files, *self.empty_folders])
        document = {
            "schema": SCHEMA,
            "files": {
                name: {
                    "sha256": facts.sha256,
                    "bytes": facts.bytes,
                    "executable": facts.executable,
                }
                for name, facts in self.files.items()
            },
            "empty_folders": sorted(self.empty_folders),
        }
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        object.__setattr__(self, "_text", text)

    @property
    def text(self) -> str:
        """The list as JSON: one text for one tree."""
        return self._text

    @property
    def digest(self) -> str:
        """The sha256 of the list, in hex."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(facts.bytes for facts in self.files.values())


def tree_from_text(text: bytes, source: str) -> Tree:
    """Read the list of a tree that another process wrote.

    Raises:
        RepositoryError: it is no such list, or names a path that leaves the folder.
    """
    try:
        document = json_from(text, source)
        files = {
            name: FileFacts(str(f["sha256"]), int(f["bytes"]), bool(f["executable"]))
            for name, f in document["files"].items()
        }
        return Tree(files, tuple(map(str, document["empty_folders"])))
    except RepositoryError as error:
        raise RepositoryError(f"{source}: {error.message}") from error
    except (SpecError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise RepositoryError(f"{source}: not the list of a repository") from error


def check_paths(names: Iterable[str]) -> None:
    """Refuse paths that leave their folder or that some system reads differently.

    Raises:
        RepositoryError: one is absolute, has `..`, a control character or a backslash,
            is longer than file systems allow, or is below a path that is a file.
    """
    known = set()
    for name in names:
        if reason := _path_fault(name):
            raise RepositoryError(f"path {name[:80]!r} {reason}")
        if name in known:
            raise RepositoryError(f"path {name!r} is listed twice")
        known.add(name)
    for name in known:
        for folder in Path(name).parents:
            if str(folder) in known:
                raise RepositoryError(f"path {name!r} is below the file {folder}")


def _path_fault(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/"):
        return "is absolute"
    if ".." in parts:
        return "leaves the repository"
    if not name or "" in parts or "." in parts:
        return "has an empty part"
    if "\\" in name or not name.isprintable():
        return "has a character that not every system takes"
    encoded = [len(part.encode()) for part in parts]
    if max(encoded) > _LONGEST_NAME or sum(encoded) + len(parts) > _LONGEST_PATH:
        return "is too long"
    return ""


def find_files(
    root: Path, *, with_bytecode: bool = False
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the files of a folder by their path in it, and its empty folders.

    Links count as what they name. Bytecode that Python left is no part of a
    repository.

    Raises:
        RepositoryError: a link leaves the folder, or something is no file; or a path
            is one that `check_paths` refuses.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise RepositoryError(f"{root}: expected a model repository, found {found}")
    files, empty = dict[str, Path](), list[str]()
    real = root.resolve()
    try:
        for folder, entries in _walk(root, real, with_bytecode=with_bytecode):
            files |= {str(entry.relative_to(root)): entry for entry in entries}
            if folder != root and not any(_entries(folder, with_bytecode)):
                empty.append(str(folder.relative_to(root)))
    except OSError as error:
        raise RepositoryError(
            f"{error.filename or root}: cannot be read: {error.strerror}"
        ) from error
    check_paths([*files, *empty])
    return dict(sorted(files.items())), tuple(sorted(empty))


def _walk(
    folder: Path, root: Path, *, with_bytecode: bool, depth: int = 0
) -> Iterator[tuple[Path, list[Path]]]:
    if depth > _MOST_FOLDERS:
        raise RepositoryError(f"{folder}: folders within folders, without end")
    files = []
    for entry in _entries(folder, with_bytecode):
        if entry.is_symlink() and not entry.resolve().is_relative_to(root):
            raise RepositoryError(
                f"{entry}: a link that leaves the repository",
                hint="put the file itself there",
            )
        mode = entry.stat().st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(entry, root, with_bytecode=with_bytecode, depth=depth + 1)
        elif stat.S_ISREG(mode):
            files.append(entry)
        else:
            raise RepositoryError(f"{entry}: neither a file nor a folder")
    yield folder, files


def _entries(folder: Path, with_bytecode: bool) -> list[Path]:
    return sorted(
        entry for entry in folder.iterdir() if with_bytecode or entry.name != BYTECODE
    )


def read_tree(root: Path) -> Tree:
    """Read every file of a folder; return the list of them.

    Raises:
        RepositoryError: as `find_files`, or a file cannot be read.
    """
    files, empty = find_files(root)
    return Tree({name: read_facts(path) for name, path in files.items()}, empty)


def read_facts(path: Path) -> FileFacts:
    """Return what a file is.

    Raises:
        RepositoryError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            sha256, size = copy_hashed(file)
    except OSError as error:
        raise RepositoryError(f"{path}: cannot be read: {error.strerror}") from error
    return FileFacts(sha256, size, bool(mode & stat.S_IXUSR))


def copy_hashed(
    source: IO[bytes], write: Callable[[bytes], object] = lambda _: None
) -> tuple[str, int]:
    """Copy what is read; return its hex sha256 and its size."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        write(chunk)
    return digest.hexdigest(), size


def verify_tree(root: Path, tree: Tree) -> None:
    """Compare a folder with the list of its files.

    Raises:
        RepositoryError: a file is missing, extra or differs; it is named.
    """
    found, empty = find_files(root)
    for name in sorted(tree.files.keys() | found.keys()):
        path = root / name
        if name not in found:
            raise RepositoryError(f"{path}: missing")
        if name not in tree.files:
            raise RepositoryError(f"{path}: not a file of this repository")
        facts = tree.files[name]
        if path.stat().st_size != facts.bytes:
            raise RepositoryError(
                f"{path}: has {path.stat().st_size:,} bytes, not {facts.bytes:,}"
            )
        if read_facts(path) != facts:
            raise RepositoryError(f"{path}: its content is not what it was")
    if empty != tree.empty_folders:
        odd = sorted({*empty} ^ {*tree.empty_folders})[0]
        raise RepositoryError(f"{root / odd}: an empty folder too many or too few")
