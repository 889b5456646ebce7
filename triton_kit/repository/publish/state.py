"""What the kit knows of a repository, in a folder beside it: lock, journal, history.

It is not inside: the server takes every folder of a repository for a model.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON

from filelock import FileLock, Timeout

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import json_from
from triton_kit.repository.publish.sync import flush

LOCK_WITHIN_S = 30.0
_SCHEMA = 1
_POLL_S = 0.02
_KNOWN = ("highest", "versions", "canary")


def state_folder(root: Path) -> Path:
    """Return the folder beside a repository; a link to one has that of its target."""
    real = Path(os.path.realpath(root))
    return real.parent / f".{real.name}.triton-kit"


@dataclass(frozen=True, slots=True)
class State:
    """The folder of what the kit knows of a repository.

    `highest` has the highest version of each model that was ever used; `versions` the
    digests of each version's manifest, and of the files beside the versions that
    belong to it; `canary` the models of which two versions are both served.
    """

    folder: Path

    @property
    def journal(self) -> Path:
        """The change that is being made, or that a killed kit left."""
        return self.folder / "journal.json"

    @property
    def stages(self) -> Path:
        """Changes are staged in folders of their own in here."""
        return self.folder / "stage"

    @property
    def blobs(self) -> Path:
        """Configs and labels of earlier versions, by sha256."""
        return self.folder / "files"

    def read(self) -> dict[str, Any]:
        """Return what is known; nothing, of a repository that the kit never wrote."""
        document = self._read("state.json") or {}
        return {name: {} for name in _KNOWN} | document

    def write(self, document: dict[str, Any]) -> None:
        """Replace what is known, at once."""
        self._write("state.json", document)

    def forget(self) -> None:
        """Begin anew, as the repository is gone; the history stays."""
        (self.folder / "state.json").unlink(missing_ok=True)
        shutil.rmtree(self.blobs, ignore_errors=True)

    def read_journal(self) -> dict[str, Any] | None:
        """Return the change that is not finished."""
        return self._read("journal.json")

    def write_journal(self, document: dict[str, Any]) -> None:
        """Note a change before the first rename."""
        self._write("journal.json", document)

    def end_journal(self) -> None:
        """Note that it is finished: this needs no space on the disk."""
        self.journal.unlink(missing_ok=True)
        flush(self.folder)

    def history(self) -> list[dict[str, Any]]:
        """Return every change, the oldest first; a torn line is left out."""
        try:
            lines = (self.folder / "history.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            with suppress(SpecError):
                record = json_from(line, "history")
                if isinstance(record, dict):
                    records.append(record)
        return records

    def note(self, record: dict[str, Any]) -> None:
        """Add a change to the history, once."""
        path = self.folder / "history.jsonl"
        if any(known.get("id") == record["id"] for known in self.history()[-1:]):
            return
        line = json.dumps(record, sort_keys=True) + "\n"
        with path.open("ab") as file:
            # A kit that was killed may have left half a line.
            file.write(("\n" + line if file.tell() else line).encode())
            file.flush()
            os.fsync(file.fileno())

    def keep(self, source: Path, digest: str) -> None:
        """Keep a file of the model's folder under its digest."""
        target = self.blobs / digest
        if target.exists():
            return
        self.blobs.mkdir(exist_ok=True)
        new = self.blobs / f".{digest}"
        new.unlink(missing_ok=True)
        try:
            shutil.copyfile(source, new)
            flush(new)
            new.rename(target)
        finally:
            new.unlink(missing_ok=True)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        document = json_from(text, str(path))
        if not isinstance(document, dict) or document.get("schema", 0) > _SCHEMA:
            raise RepositoryError(
                f"{path}: not written by this version of the kit",
                hint="use the newest triton-kit that wrote to this repository",
            )
        return document

    def _write(self, name: str, document: dict[str, Any]) -> None:
        path, new = self.folder / name, self.folder / f"{name}.new"
        text = json.dumps({"schema": _SCHEMA} | document, sort_keys=True) + "\n"
        try:
            new.write_text(text, encoding="utf-8")
            flush(new)
            new.replace(path)
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise
        flush(self.folder)


@contextmanager
def locked(root: Path, *, within_s: float = LOCK_WITHIN_S) -> Iterator[State]:
    """Hold the lock of a repository, so that no other process publishes to it.

    Raises:
        RepositoryError: another process holds it for longer.
        OSError: the folder beside the repository cannot be written.
    """
    folder = state_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n")
    lock = FileLock(folder / "lock", timeout=within_s, mode=0o644)
    try:
        lock.acquire(poll_interval=_POLL_S)
    except Timeout as error:
        raise RepositoryError(
            f"{root}: another process is publishing to it",
            hint=f"waited {within_s:g} s; try again when it is done",
        ) from error
    try:
        yield State(folder)
    finally:
        lock.release()
