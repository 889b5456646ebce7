"""Put models into a repository so that a reader sees all of a version or none of it."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.repository.check.incomplete import MISSING, missing_files
from triton_kit.repository.publish.layout import CONFIG_FILE, model_folder, versions
from triton_kit.repository.publish.manifest import is_whole, read_manifest

LOCK_WITHIN_S = 30.0


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


def publish(root: Path, drafts: list[Draft]) -> list[Published]:
    """Add models, or new versions of them, to a repository.

    Everything is written beside the repository first (a hidden folder inside would be
    taken for a model) and renamed into place only when all of it is there. A version
    that was published is never written again: other content gets the next number, and
    so does the same content where the published files are not as they were. A version
    that waits for a file is no whole one: the next takes its place.

    Raises:
        RepositoryError: the disk, or another writer, is in the way; nothing changed.
        SpecError: `root` is a file, or a name is none that a model may have.
    """
    if root.exists() and not root.is_dir():
        raise SpecError(f"{root}: expected a folder for the repository, found a file")
    for draft in drafts:
        model_folder(root, draft.name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _staging(root) as stage:
            for draft in drafts:
                _write(stage / draft.name, draft)
            return [_move(root, stage / draft.name, draft) for draft in drafts]
    except OSError as error:
        raise RepositoryError(
            f"{error.filename or root}: cannot write it: {error.strerror}"
        ) from error


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """Hold the repository's lock; yield a folder on its disk that goes away again."""
    beside = root.absolute().parent
    lock = FileLock(beside / f".{root.name}.lock", timeout=LOCK_WITHIN_S)
    try:
        lock.acquire()
    except Timeout as error:
        raise RepositoryError(
            f"{root}: another process is publishing to it",
            hint=f"waited {LOCK_WITHIN_S:g} s; try again when it is done",
        ) from error
    _sweep(root)
    stage = Path(tempfile.mkdtemp(prefix=_stage_prefix(root), dir=beside))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        lock.release()


def _stage_prefix(root: Path) -> str:
    return f".{root.name}.stage-"


def _sweep(root: Path) -> None:
    """Remove what killed writers left; the holder of the lock is the only writer."""
    left = re.compile(re.escape(_stage_prefix(root)) + r"[a-z0-9_]{8}")
    with suppress(OSError):  # a folder that may be written need not be readable
        for path in root.absolute().parent.iterdir():
            if left.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, draft: Draft) -> None:
    version = folder / "new"
    version.mkdir(parents=True)
    for name, content in draft.model_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
            if os.access(content, os.X_OK):  # the Python backend's stub, for one
                path.chmod(0o755)
        else:
            path.write_bytes(content)
    draft.write_version(version)
    for path in folder.rglob("*"):
        _flush(path)


def _move(root: Path, staged: Path, draft: Draft) -> Published:
    model = model_folder(root, draft.name)
    known = versions(model)
    if not known and not model.exists():
        (staged / "new").rename(staged / "1")
        staged.rename(model)
        _flush(root)
        return Published(name=draft.name, version=1, changed=True)
    changed = _replace_files(model, staged, draft)
    newest = model / str(known[-1]) if known else None
    if newest and _has_same_content(newest, staged / "new"):
        return Published(name=draft.name, version=known[-1], changed=changed)
    if newest and missing_files(newest):
        newest.rename(staged / "incomplete")
        (staged / "new").rename(newest)
        _flush(model)
        return Published(name=draft.name, version=known[-1], changed=True)
    version = known[-1] + 1 if known else 1
    (staged / "new").rename(model / str(version))
    _flush(model)
    return Published(name=draft.name, version=version, changed=True)


def whole_versions(root: Path, name: str) -> list[int]:
    """Return the published versions of a model that wait for no file, ascending."""
    model = model_folder(root, name)
    return [n for n in versions(model) if not missing_files(model / str(n))]


def _replace_files(model: Path, staged: Path, draft: Draft) -> bool:
    changed = False
    for name in draft.model_files():
        current = model / name
        if current.is_file() and filecmp.cmp(current, staged / name, shallow=False):
            continue
        current.parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(current)
        changed = True
    return changed


def _has_same_content(published: Path, staged: Path) -> bool:
    try:
        there, fresh = read_manifest(published), read_manifest(staged)
        if MISSING in there or MISSING in fresh:
            return there == fresh
        # The files may have changed since, or a copy was cut short.
        return there["files"] == fresh["files"] and is_whole(published)
    except RepositoryError:
        return False  # published by other means: leave it alone


def _flush(path: Path) -> None:
    """Make a file or a folder's entries survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
