"""A machine's own folder of files that arrived, by the digest of their content."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import TransportError
from triton_kit.execute.parcel import Parcel, require_whole
from triton_kit.files import cache_folder, make_cache

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """How much a store keeps.

    Attributes:
        bytes: of all its files; beyond, the one that was used longest ago goes first.
        age_s: since a file was last used; older ones go.
        young_s: since a file was last used; no limit removes it before.
    """

    bytes: int = 8 << 30
    age_s: float = 7 * 24 * 3600.0
    # Tasks read files that were sent when their process started.
    young_s: float = 24 * 3600.0


class Store:
    """A folder of files by digest, on the machine that uses them.

    Several processes receive, read and sweep at once, without a lock: a file appears by
    rename, and one that another process removed meanwhile is no error.
    """

    def __init__(
        self, folder: Path | None = None, limits: StoreLimits | None = None
    ) -> None:
        self._folder = folder or cache_folder() / "received"
        self._limits = limits or StoreLimits()
        make_cache(self._folder)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return the digests whose files are not here; the others count as used."""
        return [d for d in dict.fromkeys(digests) if not self._use(d)]

    def path(self, digest: str) -> Path:
        """Return where the file with this digest is, or would be."""
        return self._folder / digest

    def receive(self, digest: str, content: bytes) -> None:
        """Keep a file.

        Raises:
            TransportError: what arrived is not the file.
        """
        require_whole(digest, content, digest[:12])
        # It need not be on the disk: its reader compares the digest.
        staged = self._folder / f".{digest}-{secrets.token_hex(8)}"
        try:
            staged.write_bytes(content)
            staged.rename(self.path(digest))
        finally:
            staged.unlink(missing_ok=True)

    def unpack(self, parcel: Parcel, folder: Path) -> None:
        """Write the files of a parcel, all of which are here, into a folder.

        Raises:
            TransportError: a file is gone, or has changed since it arrived.
        """
        made = set[Path]()
        for name, digest in parcel.digests.items():
            target = folder / name
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            self._copy(digest, name, target)

    def sweep(self) -> None:
        """Remove files that were not used for long, and those beyond the size."""
        self.remove_unused(self.entries())

    def entries(self) -> list[os.DirEntry[str]]:
        """List the folder."""
        with os.scandir(self._folder) as found:
            return list(found)

    def remove_unused(self, entries: Sequence[os.DirEntry[str]]) -> None:
        """Remove what the limits do not allow of files that were listed before.

        Others may be gone by now: another process sweeps, or received one of them.
        """
        limits, now_s = self._limits, time.time()
        files: list[tuple[float, int, str]] = []
        for entry in entries:
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                files.append((found.st_mtime, found.st_size, entry.path))
        room = limits.bytes
        for used_s, size, path in sorted(files, reverse=True):  # the last used first
            age_s = now_s - used_s
            room -= size
            if age_s > limits.young_s and (age_s > limits.age_s or room < 0):
                self._remove_if_unused(Path(path), used_s)

    def _remove_if_unused(self, path: Path, used_s: float) -> None:
        with suppress(FileNotFoundError):
            if path.lstat().st_mtime <= used_s:
                path.unlink()

    def _use(self, digest: str) -> bool:
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    def _copy(self, digest: str, name: str, target: Path) -> None:
        """Copy a file: no link, as the kit's own must not change with a work folder's.

        Its digest is that of what is written. A file that is not as it arrived is
        removed, so that it is sent again.
        """
        source, found = self.path(digest), hashlib.sha256()
        try:
            os.utime(source)
            with source.open("rb") as read, target.open("wb") as written:
                while chunk := read.read(_CHUNK_BYTES):
                    found.update(chunk)
                    written.write(chunk)
        except FileNotFoundError:
            raise TransportError(
                f"{name}: its file is gone from {self._folder}", hint="run it again"
            ) from None
        if found.hexdigest() != digest:
            target.unlink()
            source.unlink(missing_ok=True)
            raise TransportError(
                f"{name}: its file in {self._folder} has changed since it arrived",
                hint="it is removed: run it again",
            )
