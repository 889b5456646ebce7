"""Every published file is read and compared with what was published."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError
from triton_kit.repository.publish.layout import (
    MANIFEST_FILE,
    model_folder,
    model_names,
    versions,
)
from triton_kit.repository.publish.manifest import is_listed, read_manifest, sha256
from triton_kit.repository.publish.state import State, state_folder


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not as it was published, and how it differs."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was compared, and what differs.

    Attributes:
        models: their names.
        versions: how many versions were compared.
        files: how many files were read.
        bytes: their size.
        problems: what is not as it was published.
        unlisted: versions without a manifest: there is nothing to compare them with.
    """

    models: tuple[str, ...]
    versions: int
    files: int
    bytes: int
    problems: tuple[Problem, ...]
    unlisted: tuple[Path, ...] = ()

    @property
    def is_intact(self) -> bool:
        """Whether every file is as it was published."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Expected:
    path: Path
    sha256: str
    bytes: int | None  # None: not known


def verify(root: Path, names: Sequence[str] = ()) -> VerifyReport:
    """Compare the files of a repository with what was published.

    The files are read by as many threads as there are cores; those of one model too.

    Args:
        root: the repository.
        names: the models; empty: all.

    Raises:
        RepositoryError: there is no such repository or model.
    """
    known = State(state_folder(root)).read()
    there = model_names(root)
    for name in names:
        if name not in there:
            raise RepositoryError(f"{root}: there is no model {name!r}")
    expected: list[_Expected] = []
    problems: list[Problem] = []
    unlisted: list[Path] = []
    count = 0
    for name in names or sorted({*there, *known["versions"]}):
        model = root / name
        numbers = versions(model)
        count += len(numbers)
        problems += _links_out(model, root)
        problems += _lost_versions(model, numbers, known)
        expected += _model_files(model, numbers, known)
        for number in numbers:
            version = model / str(number)
            if not (version / MANIFEST_FILE).exists():
                unlisted.append(version)
                continue
            found, wrong = _version_files(version, known)
            expected += found
            problems += wrong
    read, wrong = _read_all(expected)
    return VerifyReport(
        models=tuple(names or there),
        versions=count,
        files=len(expected),
        bytes=read,
        problems=tuple(sorted([*problems, *wrong], key=lambda p: str(p.path))),
        unlisted=tuple(unlisted),
    )


def _read_all(expected: Sequence[_Expected]) -> tuple[int, list[Problem]]:
    # The largest first: else the last thread reads it alone.
    order = sorted(expected, key=lambda file: -(file.bytes or 0))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(_compare, order))
    return sum(size for size, _ in found), [p for _, p in found if p is not None]


def _compare(file: _Expected) -> tuple[int, Problem | None]:
    try:
        size = file.path.stat().st_size
        if file.bytes is not None and size != file.bytes:
            return 0, Problem(file.path, f"has {size} bytes, not {file.bytes}")
        if sha256(file.path) == file.sha256:
            return size, None
        return size, Problem(file.path, "differs from what was published")
    except FileNotFoundError:
        return 0, Problem(file.path, "is missing")
    except OSError as error:
        return 0, Problem(file.path, f"cannot be read: {error.strerror}")


def _lost_versions(
    model: Path, numbers: Sequence[int], known: Mapping[str, Any]
) -> Iterator[Problem]:
    for text in known["versions"].get(model.name, {}):
        if int(text) not in numbers:
            yield Problem(model / text, "is missing, and was not pruned")


def _model_files(
    model: Path, numbers: Sequence[int], known: Mapping[str, Any]
) -> Iterator[_Expected]:
    """Yield the files beside the versions, as the newest version has them."""
    if not numbers:
        return
    newest = known["versions"].get(model.name, {}).get(str(numbers[-1]), {})
    for name, digest in newest.get("files", {}).items():
        yield _Expected(model / name, digest, None)


def _version_files(
    version: Path, known: Mapping[str, Any]
) -> tuple[list[_Expected], list[Problem]]:
    entry = known["versions"].get(version.parent.name, {}).get(version.name, {})
    expected = []
    if digest := entry.get("manifest"):
        expected.append(_Expected(version / MANIFEST_FILE, digest, None))
    try:
        listed = read_manifest(version)["files"]
    except RepositoryError as error:
        if expected:  # its digest says so too
            return expected, []
        path = version / MANIFEST_FILE
        return [], [Problem(path, error.message.removeprefix(f"{path}: "))]
    for name, facts in listed.items():
        facts = facts if isinstance(facts, dict) else {}
        digest, size = str(facts.get("sha256")), facts.get("bytes")
        expected.append(_Expected(version / name, digest, size))
    problems = [
        Problem(path, "is not in the manifest")
        for path in _walk(version)
        if is_listed(version, path) and str(path.relative_to(version)) not in listed
    ]
    return expected, problems


def _links_out(model: Path, root: Path) -> Iterator[Problem]:
    """Yield the links that lead out of the repository."""
    real = Path(os.path.realpath(root))
    for path in [model, *_walk(model, with_folders=True)]:
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            if not target.is_relative_to(real):
                yield Problem(path, f"is a link out of the repository, to {target}")


def _walk(folder: Path, *, with_folders: bool = False) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        for name in sorted([*names, *(folders if with_folders else ())]):
            yield Path(parent) / name


def refuse_links_out(folder: Path, root: Path) -> None:
    """Refuse a model or a version with a link that leads out of its repository.

    Raises:
        RepositoryError: there is one; it is named.
    """
    for problem in _links_out(folder, root):
        raise RepositoryError(
            f"{problem.path}: {problem.what}",
            hint="put the file itself there",
        )


def require_model(root: Path, name: str) -> Path:
    """Return the folder of a model that is there.

    Raises:
        SpecError: the name is none that a model may have.
        RepositoryError: the repository has no such model.
    """
    from triton_kit.errors import did_you_mean

    folder = model_folder(root, name)
    names = model_names(root)
    if name not in names:
        raise RepositoryError(
            f"{root}: there is no model {name!r}", hint=did_you_mean(name, names)
        )
    return folder
