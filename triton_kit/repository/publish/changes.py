"""One rename each: what a change does to a repository, and what undoes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self  # Any: JSON

from triton_kit.errors import RepositoryError
from triton_kit.repository.publish.sync import flush

Kind = Literal["add", "replace", "remove"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rename of a change; it can be done again, and undone again.

    Attributes:
        kind: `add` what is staged; `replace` a file by what is staged; `remove`.
        path: the file or folder in the repository, from its root.
        staged: what comes in, from the folder of the change.
        kept: where the old one is, from the folder of the change.
    """

    kind: Kind
    path: str
    staged: str = ""
    kept: str = ""

    def __post_init__(self) -> None:
        for text in (self.path, self.staged, self.kept):
            if text.startswith("/") or ".." in Path(text).parts:
                raise RepositoryError(f"{text!r} leads out of the repository")
        if self.kind not in ("add", "replace", "remove"):
            raise RepositoryError(f"no such change: {self.kind!r}")

    def as_json(self) -> dict[str, str]:
        """Return it as it stands in the journal."""
        return {
            "kind": self.kind,
            "path": self.path,
            "staged": self.staged,
            "kept": self.kept,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the step of a journal."""
        return cls(**document)

    def apply(self, root: Path, folder: Path) -> None:
        """Do it, unless it is done."""
        target = root / self.path
        if self.kind == "remove":
            if target.exists() and not (folder / self.kept).exists():
                _rename(target, folder / self.kept)
                flush(target.parent)
        elif os.path.lexists(folder / self.staged):
            _refuse_taken(self.kind, target)
            _make_parents(target, root)
            _rename(folder / self.staged, target)
            flush(target.parent)

    def undo(self, root: Path, folder: Path) -> None:
        """Take it back, unless it was not done or is undone."""
        target = root / self.path
        if self.kind == "remove":
            if (folder / self.kept).exists() and not target.exists():
                _rename(folder / self.kept, target)
                flush(target.parent)
        elif os.path.lexists(folder / self.staged):
            return
        elif self.kind == "add" and target.exists():
            _rename(target, folder / self.staged)
            flush(target.parent)
        elif self.kind == "replace" and (folder / self.kept).exists():
            _rename(folder / self.kept, target)
            flush(target.parent)


def apply_all(steps: Sequence[Step], root: Path, folder: Path) -> None:
    """Do the steps in order."""
    for step in steps:
        step.apply(root, folder)


def undo_all(steps: Sequence[Step], root: Path, folder: Path) -> None:
    """Take the steps back, the last one first."""
    for step in reversed(steps):
        step.undo(root, folder)


def _refuse_taken(kind: Kind, target: Path) -> None:
    if kind == "add" and os.path.lexists(target):
        raise RepositoryError(
            f"{target}: another program made it in the meantime",
            hint="only one tool at a time should write to a repository",
        )


def _make_parents(target: Path, root: Path) -> None:
    if target.parent.exists():
        return
    _make_parents(target.parent, root)
    target.parent.mkdir()
    flush(target.parent.parent)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        # Both names matter: the second is the one that the user knows.
        raise OSError(error.errno, error.strerror, str(target)) from error
