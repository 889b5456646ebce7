"""Files that travel by the digest of their content: each once to a machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from triton_kit.errors import TransportError
from triton_kit.files import cache_folder, make_cache, write_whole


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


class Store:
    """A folder of files by digest, on the machine that uses them."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder() / "received"
        make_cache(self._folder)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return the digests whose files are not here yet."""
        return [d for d in dict.fromkeys(digests) if not (self._folder / d).is_file()]

    def path(self, digest: str) -> Path:
        """Return where the file with this digest is, or would be."""
        return self._folder / digest

    def receive(self, digest: str, fetch: Callable[[], bytes]) -> None:
        """Keep a file; of several processes one fetches it.

        Raises:
            TransportError: what arrived is not the file.
        """
        path = self.path(digest)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                content = fetch()
                require_whole(digest, content, digest[:12])
                write_whole(path, content)

    def unpack(self, parcel: Parcel, folder: Path) -> None:
        """Write the files of a parcel, all of which are here, into a folder."""
        for name, digest in parcel.digests.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # No link: the kit's own files must not change with a work folder's.
            shutil.copyfile(self.path(digest), target)


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
