"""Files that travel by the digest of their content: each once to a machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from triton_kit.errors import TransportError


@dataclass(frozen=True, slots=True)
class Parcel:
    """Files of a folder: their paths in it, and the SHA-256 of each."""

    digests: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in self.digests:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise TransportError(
                    f"a file named {name!r} was sent: no name in a folder"
                )


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, which may not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(path: Path, *, skip: Callable[[Path], bool]) -> dict[str, Path]:
    """Return the files of a folder, or a file alone, by the name they travel under."""
    if path.is_file():
        return {path.name: path}
    found = {}
    for folder, names, files in os.walk(path):
        here = Path(folder)
        names[:] = sorted(name for name in names if not skip(here / name))
        for name in sorted(files):
            file = here / name
            if file.is_file() and not skip(file):
                found[file.relative_to(path).as_posix()] = file
    return found


def require_whole(digest: str, content: bytes, name: str) -> None:
    """Refuse a file that is not the one that was sent.

    Raises:
        TransportError: its digest differs.
    """
    if (found := digest_of(content)) != digest:
        raise TransportError(
            f"{name} did not arrive whole: SHA-256 {found[:12]}..., sent as "
            f"{digest[:12]}... ({len(content):,} bytes)",
            hint="run it again; nothing of it was kept",
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """Files that come back from a task, with their contents by digest."""

    parcel: Parcel
    contents: Mapping[str, bytes] = field(repr=False)

    def unpack(self, what: str, folder: Path) -> dict[str, Path]:
        """Write the files into a folder of this process, by their names.

        Args:
            what: begins the message, such as the model's name.
            folder: it is removed in the end: nothing is staged or waits for the disk.

        Raises:
            TransportError: a file did not arrive, or not whole; none is written.
        """
        for name, digest in self.parcel.digests.items():
            require_whole(digest, self.contents.get(digest, b""), f"{what}: {name}")
        written = {}
        for name, digest in self.parcel.digests.items():
            written[name] = path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.contents[digest])
        return written


def deliver(files: Mapping[str, Path]) -> Delivery:
    """Read files, for the machine that sent the task."""
    contents, digests = {}, {}
    for name, path in files.items():
        content = path.read_bytes()
        digests[name] = digest_of(content)
        contents[digests[name]] = content
    return Delivery(Parcel(digests), contents)
