"""Put models into a repository so that a reader sees all of a version or none of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.repository.check.incomplete import MISSING, missing_files
from triton_kit.repository.publish.changes import Step
from triton_kit.repository.publish.layout import (
    CONFIG_FILE,
    MANIFEST_FILE,
    model_folder,
    versions,
)
from triton_kit.repository.publish.manifest import (
    is_whole,
    read_manifest,
    sha256,
    version_digest,
)
from triton_kit.repository.publish.transaction import (
    Change,
    Transaction,
    flush_tree,
    transaction,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One model to publish: its config, and a function that fills a version folder.

    `write_version` also leaves the manifest there. `files` are others of the model, by
    their path in its folder: labels, warm-up data; as bytes, or as files to copy.
    """

    name: str
    config: str
    write_version: Callable[[Path], None]
    files: Mapping[str, bytes | Path] = field(default_factory=dict)

    def model_files(self) -> dict[str, bytes | Path]:
        """Return everything that is outside the version folders; the config is last."""
        return {**self.files, CONFIG_FILE: self.config.encode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of one draft.

    `version` is the one that has the draft's content. `changed` is False where the
    repository had that content already.
    """

    name: str
    version: int
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A draft on the disk, beside the repository, and the renames that publish it.

    Attributes:
        folder: `new` in it is the version; the files beside the versions lie around it.
        files: the sha256 of each of those.
        is_new_version: whether the draft's content was not there.
    """

    name: str
    version: int
    folder: Path
    steps: tuple[Step, ...]
    files: Mapping[str, str]
    is_new_version: bool
    new_folder: Path

    @property
    def published(self) -> Published:
        """What becomes of the draft."""
        changed = bool(self.steps)
        return Published(name=self.name, version=self.version, changed=changed)

    def as_record(self) -> dict[str, Any]:
        """Return what the history says of it."""
        version = self.new_folder if self.is_new_version else None
        digest = {"digest": version_digest(version)} if version else {}
        return {"name": self.name, "version": self.version, **digest}


def publish(
    root: Path, drafts: Sequence[Draft], *, action: str = "build"
) -> list[Published]:
    """Add models, or new versions of them, to a repository: all of them, or none.

    Everything is written beside the repository first (a hidden folder inside would be
    taken for a model) and renamed into place only when all of it is there. A version
    that was published is never written again: other content gets the next number, and
    so does the same content where the published files are not as they were. A version
    that waits for a file is no whole one: the next takes its place.

    Raises:
        RepositoryError: the disk, or another writer, is in the way; nothing changed.
        SpecError: `root` is a file, or a name is none that a model may have.
    """
    refuse_bad_names(root, [draft.name for draft in drafts])
    with transaction(root) as change:
        staged = [stage(change, draft) for draft in drafts]
        commit(change, staged, action=action)
    return [one.published for one in staged]


def refuse_bad_names(root: Path, names: Sequence[str]) -> None:
    """Refuse what cannot be a repository, or a model in one.

    Raises:
        SpecError: `root` is a file, or a name is none that a model may have.
    """
    if root.exists() and not root.is_dir():
        raise SpecError(f"{root}: expected a folder for the repository, found a file")
    for name in names:
        model_folder(root, name)


def next_version(change: Transaction, name: str) -> int:
    """Return the number of a model's next version: no number is used twice."""
    known = versions(model_folder(change.root, name))
    highest = int(change.state.read()["highest"].get(name, 0))
    return max([highest, *known]) + 1


def stage(change: Transaction, draft: Draft) -> Staged:
    """Write a draft beside the repository, and find the renames that publish it."""
    folder = change.folder / draft.name
    new = folder / "new"
    new.mkdir(parents=True)
    for name, content in draft.model_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
            if os.access(content, os.X_OK):  # the Python backend's stub, for one
                path.chmod(0o755)
        else:
            path.write_bytes(content)
    draft.write_version(new)
    flush_tree(folder)
    return _plan(change, draft, folder)


def _plan(change: Transaction, draft: Draft, folder: Path) -> Staged:
    model = model_folder(change.root, draft.name)
    known = versions(model)
    digests = {name: sha256(folder / name) for name in draft.model_files()}
    number = next_version(change, draft.name)
    here = draft.name
    steps: list[Step] = []
    is_new, new = True, folder / "new"
    if not model.exists():
        new = new.rename(folder / str(number))
        steps = [Step(kind="add", path=here, staged=here)]
    else:
        newest = model / str(known[-1]) if known else None
        if newest and _has_same_content(newest, folder / "new"):
            number, is_new = known[-1], False
        elif newest and missing_files(newest):
            number = known[-1]
            steps.append(
                Step(kind="remove", path=f"{here}/{number}", kept=f"{here}/incomplete")
            )
        if is_new:
            added = Step(kind="add", path=f"{here}/{number}", staged=f"{here}/new")
            steps.append(added)
        steps += _file_steps(model, folder, digests)
    return Staged(
        name=draft.name,
        version=number,
        folder=folder,
        steps=tuple(steps),
        files=digests,
        is_new_version=is_new,
        new_folder=new,
    )


def _file_steps(model: Path, folder: Path, digests: Mapping[str, str]) -> list[Step]:
    """Return the renames of the files beside the versions that changed."""
    steps = []
    here = model.name
    for name, digest in digests.items():
        current = model / name
        if not current.is_file():
            steps.append(
                Step(kind="add", path=f"{here}/{name}", staged=f"{here}/{name}")
            )
        elif sha256(current) != digest:
            kept = folder / "kept" / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(current, kept)
            flush_tree(folder / "kept")
            steps.append(
                Step(
                    kind="replace",
                    path=f"{here}/{name}",
                    staged=f"{here}/{name}",
                    kept=f"{here}/kept/{name}",
                )
            )
    return steps


def commit(
    change: Transaction,
    staged: Sequence[Staged],
    *,
    action: str,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    canary: Mapping[str, Mapping[str, Any]] | None = None,
    confirm: Callable[[], None] | None = None,
    server: str = "",
) -> None:
    """Publish what is staged: all of it, or none.

    Args:
        change: the lock of the repository.
        staged: what to publish.
        action: what the history calls it.
        facts: by model, what else the history says of it.
        canary: by model, what is known of the canary that begins.
        confirm: asks the server; if it raises, the old state returns.
        server: its address.

    Raises:
        RepositoryError: the disk is in the way; the repository is as it was.
    """
    if not any(one.steps for one in staged):
        return
    known = change.state.read()
    for one in staged:
        _note_files(change, one, known)
    known["canary"] = known["canary"] | {k: dict(v) for k, v in (canary or {}).items()}
    models = [
        {**one.as_record(), **(facts or {}).get(one.name, {})}
        for one in staged
        if one.steps
    ]
    change.commit(
        Change(
            action=action,
            steps=tuple(step for one in staged for step in one.steps),
            models=tuple(models),
            highest={one.name: one.version for one in staged},
            known=known,
            server=server,
        ),
        confirm=confirm,
    )


def _note_files(change: Transaction, one: Staged, known: dict[str, Any]) -> None:
    """Note the digests of what is staged, and keep the files beside the versions."""
    keep_current_files(change, one.name, known)
    for name, digest in one.files.items():
        change.state.keep(one.folder / name, digest)
    listed = known["versions"].setdefault(one.name, {})
    entry = listed.setdefault(str(one.version), {})
    entry["files"] = dict(one.files)
    if one.is_new_version:
        entry["manifest"] = sha256(one.new_folder / MANIFEST_FILE)


def keep_current_files(change: Transaction, name: str, known: dict[str, Any]) -> None:
    """Note and keep the config of the newest version, if the kit does not know it yet.

    Only so can a rollback bring it back.
    """
    model = model_folder(change.root, name)
    there = versions(model)
    if not there or not (model / CONFIG_FILE).is_file():
        return
    entry = known["versions"].setdefault(name, {}).setdefault(str(there[-1]), {})
    if "files" in entry:
        return
    entry["files"] = {}
    for path in sorted(model.iterdir()):
        if path.is_file() and not path.is_symlink():
            digest = sha256(path)
            change.state.keep(path, digest)
            entry["files"][path.name] = digest
    if (manifest := model / str(there[-1]) / MANIFEST_FILE).is_file():
        entry["manifest"] = sha256(manifest)


def whole_versions(root: Path, name: str) -> list[int]:
    """Return the published versions of a model that wait for no file, ascending."""
    model = model_folder(root, name)
    return [n for n in versions(model) if not missing_files(model / str(n))]


def _has_same_content(published: Path, staged: Path) -> bool:
    try:
        there, fresh = read_manifest(published), read_manifest(staged)
        if MISSING in there or MISSING in fresh:
            return bool(there == fresh)
        # The files may have changed since, or a copy was cut short.
        return there["files"] == fresh["files"] and is_whole(published)
    except RepositoryError:
        return False  # published by other means: leave it alone
