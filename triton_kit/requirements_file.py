"""A requirements file, read as pip reads it: what it asks for, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from triton_kit.errors import SpecError

_NESTED = re.compile(r"(?:-r\s*|--requirement[\s=]+)(?P<name>[^\s#]+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]")
_FILE_OPTION = re.compile(
    r"(?:^|\s)(?:-[rcf]\s*|--(?:requirement|constraint|find-links)[\s=]+)([^\s#]+)"
)
# `./x.whl`, `-e ./x`, `x @ file:///x.whl`, `./x.whl[extra]`
_LOCAL = re.compile(
    r"(?:(?:-e|--editable)[\s=]+)?(?:[\w.,\[\]-]+\s*@\s*)?(?:file:(?://)?)?"
    r"(?P<path>[^\s\[;]+)"
)


def required_packages(
    requirements: Path, *, python: str | None = None
) -> list[Requirement]:
    """Return what a requirements file asks for, for a Python: None is this one.

    Files that it names with `-r` are part of it. Other options, paths and URLs are left
    to pip.

    Raises:
        SpecError: a file cannot be read, or a line is no requirement.
    """
    found = []
    for path, number, text in _lines(requirements):
        if is_file(text):
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise SpecError(f"{path}:{number}: not a requirement: {text!r}") from error
        if applies(wanted, python):
            found.append(wanted)
    return found


def missing_packages(requirements: Path) -> list[str]:
    """Return what a requirements file asks for and this Python does not have.

    Paths, URLs and editable packages count as missing: only pip knows what they are.

    Raises:
        SpecError: as `required_packages`.
    """
    files = [text for _, _, text in _lines(requirements) if is_file(text)]
    wanted = required_packages(requirements)
    return files + [str(one) for one in wanted if not _is_installed(one)]


def _is_installed(wanted: Requirement, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a package is here, and so is what its extras need."""
    try:
        found = distribution(wanted.name)
    except PackageNotFoundError:
        return False
    if not wanted.specifier.contains(found.version, prereleases=True):
        return False
    needs = [Requirement(text) for text in found.requires or ()]
    return all(
        _is_installed(need, seen | {str(wanted)})
        for extra in wanted.extras
        for need in needs
        if applies(need, None, extra) and not applies(need, None)
        if str(need) not in seen
    )


def applies(wanted: Requirement, python: str | None, extra: str = "") -> bool:
    """Whether the marker of a requirement holds for a Python: None is this one."""
    if wanted.marker is None:
        return True
    environment: dict[str, str | AbstractSet[str]] = {"extra": extra}
    if python is not None:
        environment["python_version"] = python
        environment["python_full_version"] = f"{python}.0"
    return wanted.marker.evaluate(environment)


def file_facts(requirements: Path) -> list[object]:
    """Return all of a requirements file that decides what pip installs.

    That is its text, the files that it names, and size and time of local wheels.
    """
    facts: list[object] = []
    waiting, seen = [requirements], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        if path.is_dir():
            facts += _stamps(sorted(path.iterdir()))
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        facts.append(text)
        waiting += [path.parent / name for name in _FILE_OPTION.findall(text)]
    for _, _, line in _lines(requirements):
        match = _LOCAL.match(line)
        if match and (is_file(line) or "@" in line):
            local = requirements.parent / match["path"]  # pip runs in this folder
            facts += _stamps([local, *sorted(local.rglob("*"))])
    return facts


def _stamps(paths: list[Path]) -> list[object]:
    return [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in paths
        if path.exists()
    ]


def _lines(
    requirements: Path, seen: frozenset[Path] = frozenset()
) -> Iterator[tuple[Path, int, str]]:
    """Yield the lines of a file and of those that `-r` names: file, number, text.

    Comments, hashes and other options of pip are left out; `-e` stays.
    """
    if requirements in seen:
        return
    for number, line in _joined(requirements):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if (nested := _NESTED.match(text)) and "://" not in nested["name"]:
            inner = requirements.parent / nested["name"]
            yield from _lines(inner, seen | {requirements})
        elif _EDITABLE.match(text):
            yield requirements, number, text
        elif text and not text.startswith("-"):
            yield requirements, number, text.partition(" --")[0].strip()


def _joined(requirements: Path) -> Iterator[tuple[int, str]]:
    r"""Yield the lines of a file by number; one that ends with `\` goes on."""
    try:
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"requirements {requirements} cannot be read: {error}"
        raise SpecError(message) from error
    start, parts = 0, list[str]()
    for number, line in enumerate(lines, 1):
        start = start if parts else number
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\") or line.lstrip().startswith("#"):
            yield start, "".join(parts)
            parts = []
    if parts:
        yield start, "".join(parts)


def is_file(text: str) -> bool:
    """Whether a line is a path, a URL or editable, which is left to pip."""
    is_editable = _EDITABLE.match(text) is not None
    return is_editable or "/" in text.partition("@")[0] or text.endswith(".whl")
