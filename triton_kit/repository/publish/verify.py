"""Every published file is read and compared with what was published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError
from triton_kit.files import TEXT_BYTES, open_regular
from triton_kit.repository.publish.compare_files import (
    ExpectedFile,
    Problem,
    compare_files,
    kind_at,
)
from triton_kit.repository.publish.layout import (
    MANIFEST_FILE,
    is_version,
    model_folder,
    model_names,
)
from triton_kit.repository.publish.links import entries, link_out
from triton_kit.repository.publish.manifest import is_listed, manifest_from
from triton_kit.repository.publish.state import State, state_folder


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


def verify(root: Path, names: Sequence[str] = ()) -> VerifyReport:
    """Compare the files of a repository with what was published.

    The files are read by as many threads as there are cores; those of one model too.

    Args:
        root: the repository.
        names: the models; empty: all.

    Raises:
        RepositoryError: there is no such repository or model.
    """
    known = State(state_folder(root)).read()["versions"]
    there = model_names(root)
    for name in names:
        if name not in there:
            raise RepositoryError(f"{root}: there is no model {name!r}")
    real_root = os.path.realpath(root)
    found = [
        _inspect(str(root / name), real_root, known.get(name, {}))
        for name in names or sorted({*there, *known})
    ]
    read, differing = compare_files([file for one in found for file in one.files])
    problems = [*differing, *(problem for one in found for problem in one.problems)]
    manifests = [size for one in found for size in one.manifests]
    return VerifyReport(
        models=tuple(names or there),
        versions=sum(len(one.numbers) for one in found),
        files=sum(len(one.files) for one in found) + len(manifests),
        bytes=read + sum(manifests),
        problems=tuple(sorted(problems, key=lambda problem: str(problem.path))),
        unlisted=tuple(Path(path) for one in found for path in one.unlisted),
    )


@dataclass(slots=True)
class _Model:
    """What was found of one model; `manifests` has the sizes of those in order."""

    numbers: list[int] = field(default_factory=list)
    files: list[ExpectedFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    manifests: list[int] = field(default_factory=list)


def _inspect(model: str, real_root: str, known: Mapping[str, Any]) -> _Model:
    """Return what is to be compared of a model, and what is wrong at first sight.

    Paths are strings here: a repository of 1,000 models has thousands of files.

    Args:
        model: its folder.
        real_root: the repository, without links.
        known: by version, what the kit knows of it.
    """
    found = _Model()
    try:
        names = _versions_in(model, real_root, found)
    except FileNotFoundError:
        names = []
    except OSError as error:
        names = []
        found.problems.append(_unreadable(error, model))
    found.numbers = sorted(map(int, names))
    for name in known:
        if name not in names:
            path = Path(model, name)
            found.problems.append(Problem(path, "is missing, and was not pruned"))
    if found.numbers:  # the files beside the versions are as the newest has them
        newest = known.get(str(found.numbers[-1]), {})
        for name, digest in newest.get("files", {}).items():
            found.files.append(ExpectedFile(f"{model}/{name}", digest))
    for number in found.numbers:
        name = str(number)
        _inspect_version(
            f"{model}/{name}", real_root, known.get(name, {}).get("manifest"), found
        )
    return found


def _versions_in(model: str, real_root: str, found: _Model) -> list[str]:
    """Return the names of the versions; note the links elsewhere in the folder."""
    names, links = [], [model] if Path(model).is_symlink() else []
    with os.scandir(model) as entries_here:
        for entry in entries_here:
            if entry.is_symlink():
                links.append(entry.path)
            if entry.is_dir() and is_version(entry.name):
                names.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                inner = entries(entry.path)
                links += [other.path for other in inner if other.is_symlink()]
    found.problems += _links_out(links, real_root)
    return names


def _links_out(links: Sequence[str], real_root: str) -> Iterator[Problem]:
    for link in links:
        if problem := link_out(link, real_root):
            yield problem


def _inspect_version(
    version: str, real_root: str, published: str | None, found: _Model
) -> None:
    """Note the files of a version, and what is there besides.

    Args:
        version: its folder.
        real_root: the repository, without links.
        published: the sha256 of its manifest; None: not known.
        found: gets what is found.
    """
    try:
        there = {entry.path: entry.is_symlink() for entry in entries(version)}
    except OSError as error:
        found.problems.append(_unreadable(error, version))
        return
    links = [path for path, is_link in there.items() if is_link]
    leaving = list(_links_out(links, real_root))
    found.problems += leaving
    path = f"{version}/{MANIFEST_FILE}"
    if path not in there:
        if published is None:
            found.unlisted.append(version)
        else:
            found.problems.append(Problem(Path(path), "is missing"))
        return
    listed = _listed_files(path, published, found)
    if listed is None:
        return
    expected = {f"{version}/{name}": facts for name, facts in listed.items()}
    found.files += (_expected(file, facts) for file, facts in expected.items())
    known = {path, *expected, *(str(problem.path) for problem in leaving)}
    for file in there.keys() - known:
        if is_listed(Path(version), Path(file)):
            found.problems.append(Problem(Path(file), "is not in the manifest"))


def _expected(path: str, facts: object) -> ExpectedFile:
    known = facts if isinstance(facts, dict) else {}
    size = known.get("bytes")
    return ExpectedFile(
        path, str(known.get("sha256")), size if isinstance(size, int) else None
    )


def _listed_files(
    path: str, published: str | None, found: _Model
) -> dict[str, Any] | None:
    """Return the files of a manifest; None where it cannot be trusted."""
    try:
        with open_regular(Path(path)) as file:
            content = file.read(TEXT_BYTES + 1)
    except OSError as error:
        found.problems.append(_unreadable(error, path))
        return None
    is_published = published == hashlib.sha256(content).hexdigest()
    if published is not None and not is_published:
        found.problems.append(Problem(Path(path), "differs from what was published"))
    try:
        document = manifest_from(content, Path(path), is_trusted=is_published)
    except RepositoryError as error:
        if published is None:
            what = error.message.removeprefix(f"{path}: ")
            found.problems.append(Problem(Path(path), what))
        return None
    found.manifests.append(len(content))
    listed: dict[str, Any] = document["files"]
    return listed


def _unreadable(error: OSError, path: str) -> Problem:
    place = str(error.filename or path)
    return Problem(Path(place), kind_at(place) or f"cannot be read: {error.strerror}")


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
