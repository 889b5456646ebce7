"""Several renames as one change: all of them happen, or none, whatever dies."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError, TritonKitError
from triton_kit.repository.publish.changes import Step, apply_all, undo_all
from triton_kit.repository.publish.state import (
    LOCK_WITHIN_S,
    State,
    locked,
    state_folder,
)
from triton_kit.repository.publish.sync import flush


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to happen, as the journal has it.

    Attributes:
        action: `publish`, `rollback` and so on, for the history.
        steps: renames, in order.
        models: what became of each model, for the history.
        highest: by model, the version whose number is used up, even if it fails.
        known: what is known of the repository afterwards; None: as before.
        server: the address of the server that has to accept it.
    """

    action: str
    steps: tuple[Step, ...]
    models: tuple[dict[str, Any], ...] = ()
    highest: dict[str, int] = field(default_factory=dict)
    known: dict[str, Any] | None = None
    server: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """The lock of a repository is held; `folder` is for what is staged."""

    root: Path
    state: State
    folder: Path
    recovered: str = ""

    def commit(
        self, change: Change, *, confirm: Callable[[], None] | None = None
    ) -> None:
        """Make a change; if `confirm` raises, take it back.

        Raises:
            RepositoryError: the disk is in the way; the repository is as it was.
        """
        known = self.state.read()
        for name, version in change.highest.items():
            known["highest"][name] = max(version, known["highest"].get(name, 0))
        if change.highest:
            self.state.write(known)
        record = _record(change)
        journal = {
            "folder": self.folder.name,
            "steps": [step.as_json() for step in change.steps],
            "record": record,
            "known": change.known,
            "then": "undo" if confirm else "complete",
        }
        self.state.write_journal(journal)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            apply_all(change.steps, self.root, self.folder)
            if confirm is not None:
                confirm()
            _finish(self.state, change.known, record)
        except BaseException as error:
            undo_all(change.steps, self.root, self.folder)
            self.state.end_journal()
            with suppress(OSError):
                failed = {"outcome": "undone", "reason": _reason(error)}
                self.state.note(record | failed)
            raise


def _reason(error: BaseException) -> str:
    if isinstance(error, TritonKitError):
        return error.message
    return str(error) or type(error).__name__


def _record(change: Change) -> dict[str, Any]:
    record = {
        "id": secrets.token_hex(8),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "action": change.action,
        "models": list(change.models),
        "outcome": "done",
    }
    return record | ({"server": change.server} if change.server else {})


def _finish(state: State, known: dict[str, Any] | None, record: dict[str, Any]) -> None:
    if known is not None:
        highest = state.read()["highest"]
        state.write(known | {"highest": highest})
    state.note(record)
    state.end_journal()


@contextmanager
def transaction(
    root: Path, *, within_s: float = LOCK_WITHIN_S
) -> Iterator[Transaction]:
    """Hold the lock of a repository; finish or undo what a killed kit left.

    Raises:
        RepositoryError: another process is publishing, or the disk is in the way.
    """
    try:
        with locked(root, within_s=within_s) as state:
            recovered = _recover(root, state)
            if not root.exists():
                state.forget()
            state.stages.mkdir(exist_ok=True)
            folder = state.stages / secrets.token_hex(8)
            folder.mkdir()
            try:
                _refuse_other_disk(root, folder)
                yield Transaction(
                    root=root, state=state, folder=folder, recovered=recovered
                )
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise RepositoryError(
            f"{error.filename or root}: cannot write it: {error.strerror}"
        ) from error


def recover(root: Path) -> str:
    """Finish or undo what a killed kit left; return a sentence on it, or "".

    Raises:
        RepositoryError: the disk is in the way.
    """
    state = State(state_folder(root))
    is_unfinished = state.journal.exists()
    if not is_unfinished and not _has_leftovers(state):
        return ""
    try:
        with locked(root, within_s=0) as state:
            return _recover(root, state)
    except OSError as error:
        if not is_unfinished:  # only files that nothing needs
            return ""
        raise RepositoryError(
            f"{error.filename or root}: cannot finish what a killed publisher left: "
            f"{error.strerror}"
        ) from error
    except RepositoryError:
        return ""  # another process is publishing right now


def _has_leftovers(state: State) -> bool:
    with suppress(OSError):
        return any(state.stages.iterdir())
    return False


def _recover(root: Path, state: State) -> str:
    journal = state.read_journal()
    done = ""
    if journal is not None:
        steps = [Step.from_json(step) for step in journal["steps"]]
        folder = state.stages / str(journal["folder"])
        record = journal["record"]
        what = f"{record['action']} of {_names(record['models'])}, which was killed"
        if journal["then"] == "complete":
            root.mkdir(parents=True, exist_ok=True)
            apply_all(steps, root, folder)
            _finish(state, journal["known"], record)
            done = f"finished the {what}"
        else:
            undo_all(steps, root, folder)
            state.end_journal()
            reason = {"outcome": "undone", "reason": "the publisher was killed"}
            state.note(record | reason)
            done = f"undid the {what}"
            if server := record.get("server"):
                done += f"; load it again on {server}"
    shutil.rmtree(state.stages, ignore_errors=True)
    return done


def _names(models: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(model.get("name")) for model in models)


def _refuse_other_disk(root: Path, folder: Path) -> None:
    """A rename works within one file system only."""
    if root.exists() and root.stat().st_dev != folder.stat().st_dev:
        raise RepositoryError(
            f"{root}: it is a mount point, and a change is staged beside it, on "
            "another file system",
            hint="use a folder on that volume as repository, not its root",
        )


def flush_tree(folder: Path) -> None:
    """Make everything in a folder survive a power cut."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if not (path := Path(parent) / name).is_symlink():
                flush(path)
        flush(Path(parent))
