"""What a Python model's requirements file asks for becomes a packed environment."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from triton_kit.errors import SpecError
from triton_kit.files import make_cache, refuse_shared_cache
from triton_kit.process import python_command, run_child
from triton_kit.python_environment import ENVIRONMENT_FILE, pack_packages, this_python
from triton_kit.scratch import scratch_folder
from triton_kit.triton.releases import Release

_FORMAT = 1  # of the packed file: a cached one of another format is not used
_PIP_WITHIN_S = 1800.0
# By the container's Python, which tells its Ubuntu: the newest glibc of a wheel.
_GLIBC = {"3.10": 35, "3.12": 39}
# Their Python backend was built before NumPy 2: outputs would arrive empty.
_BEFORE_NUMPY_2 = "3.10"
_FILE_OPTION = re.compile(
    r"(?:-r|-c|-f|--requirement|--constraint|--find-links)[\s=]+(\S+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A packed environment: its file, the Python that it is for, and what is in it."""

    path: Path
    python: str
    packages: tuple[str, ...]  # name and version: `click-8.1.7`


def required_packages(
    requirements: Path, *, python: str | None = None
) -> list[Requirement]:
    """Return what a requirements file asks for, for a Python: None is this one.

    Options of pip, and the other files that they name, are left to pip.

    Raises:
        SpecError: it cannot be read, or a line is no requirement.
    """
    found = []
    for number, text in _lines(requirements):
        if _is_file(text):
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise SpecError(
                f"{requirements}:{number}: not a requirement: {text!r}"
            ) from error
        if _applies(wanted, python):
            found.append(wanted)
    return found


def _lines(requirements: Path) -> Iterator[tuple[int, str]]:
    """Yield lines without comments, hashes and the options of pip, by their number."""
    try:
        lines = requirements.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"requirements {requirements} cannot be read: {error}"
        raise SpecError(message) from error
    for number, line in enumerate(lines, 1):
        text = line.partition(" #")[0].partition(" --")[0].strip(" \t\\")
        if text and not text.startswith(("#", "-")):
            yield number, text


def _is_file(text: str) -> bool:
    """Whether a line is a path or a URL, which is left to pip."""
    return "/" in text.partition("@")[0] or text.endswith(".whl")


def missing_packages(requirements: Path) -> list[str]:
    """Return what a requirements file asks for and this Python does not have."""
    files = [text for _, text in _lines(requirements) if _is_file(text)]
    wanted = required_packages(requirements)
    return files + [str(one) for one in wanted if not _is_installed(one)]


def _is_installed(wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _applies(wanted: Requirement, python: str | None) -> bool:
    if wanted.marker is None:
        return True
    environment: dict[str, str | AbstractSet[str]] = {"extra": ""}
    if python is not None:
        environment["python_version"] = python
        environment["python_full_version"] = f"{python}.0"
    return wanted.marker.evaluate(environment)


def pack_requirements(
    requirements: Path, folder: Path, *, release: Release | None, cache: Path | None
) -> Packed:
    """Let pip get the wheels that a requirements file asks for, and pack them.

    The same wheels give the same bytes. Wheels alone are taken: nothing is compiled,
    and so they are for the target's Python, whatever runs here.

    Args:
        requirements: as pip reads it; it may have options, such as `--find-links`.
        folder: where the file is written.
        release: of the container; None is the embedded server, with this Python.
        cache: a folder of packed environments, by content; None: pack again.

    Raises:
        SpecError: pip is not here, or has no wheel of a requirement.
    """
    python = release.python if release else this_python()
    kept = None
    if cache is not None:
        kept = cache / "environments" / f"{_key(requirements, python)}.tar.gz"
        make_cache(kept.parent)
    if kept is not None and kept.is_file():
        refuse_shared_cache(kept)
        return Packed(path=kept, python=python, packages=_packages_in(kept))
    output = folder / ENVIRONMENT_FILE
    with scratch_folder() as scratch:
        site = scratch / "site"
        _install(requirements, site, python=python, is_container=release is not None)
        files: dict[str, bytes | Path] = {
            str(path.relative_to(site)): path
            for path in site.rglob("*")
            if path.is_file() and _is_packed(path.relative_to(site))
        }
        for name, content in files.items():
            if name.endswith(".dist-info/RECORD") and isinstance(content, Path):
                files[name] = _as_packed(content)
        pack_packages(output, files, python=python)
    if kept is not None:
        stage = kept.with_name(f".{kept.name}.{os.getpid()}")
        shutil.copyfile(output, stage)
        stage.replace(kept)
    return Packed(path=output, python=python, packages=_packages_in(output))


def _key(requirements: Path, python: str) -> str:
    """Return a digest of what pip is asked, local folders of wheels included."""
    facts: list[object] = [_FORMAT, python, platform.machine()]
    waiting, seen = [requirements], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        if path.is_dir():
            files = sorted(path.iterdir())
            facts += [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        facts.append(text)
        waiting += [path.parent / name for name in _FILE_OPTION.findall(text)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _install(
    requirements: Path, site: Path, *, python: str, is_container: bool
) -> None:
    """Install wheels below a folder; pip evaluates markers for its own Python alone."""
    wanted = required_packages(requirements, python=python)
    own = required_packages(requirements)
    more = [_plain(one) for one in wanted if one not in own]
    words = _target_words(python) if is_container else []
    if not is_container or python == _BEFORE_NUMPY_2:
        limit = site.with_name("constraints.txt")
        limit.write_text("numpy<2\n")
        words += ["--constraint", str(limit)]
    while True:
        _run_pip([*words, "-r", str(requirements), *more], requirements, site, python)
        found = _unmet(site, python)
        if set(found) <= set(more):
            return
        more = sorted({*more, *found})


def _plain(wanted: Requirement) -> str:
    return str(wanted).partition(";")[0].strip()


def _target_words(python: str) -> list[str]:
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}" for minor in range(_GLIBC[python], 4, -1)]
    tags += ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
    words = ["--implementation", "cp", "--python-version", python]
    return words + [word for tag in tags for word in ("--platform", f"{tag}_{machine}")]


def _run_pip(words: Sequence[str], requirements: Path, site: Path, python: str) -> None:
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-compile"]
    options += ["--only-binary=:all:", "--upgrade", "--target", str(site)]
    argv = python_command("-m", "pip", "install", *options, *words)
    done = run_child(argv, deadline_s=_PIP_WITHIN_S)
    if done.exit_code == 0:
        return
    if "No module named pip" in done.stderr:
        raise SpecError(
            f"{requirements.name} needs pip, which {sys.executable} does not have",
            hint="python -m ensurepip, or set `environment` to a packed one",
        )
    reasons = [
        line.removeprefix("ERROR: ")
        for line in done.stderr.splitlines()
        if line.startswith("ERROR: ")
    ]
    raise SpecError(
        f"pip cannot get what {requirements.name} asks for, as wheels for Python "
        f"{python}: {reasons[0] if reasons else done.ending}",
        hint=f"wheels of your own: pip wheel -r {requirements.name} -w wheels, and "
        f"a line `--find-links wheels` in {requirements.name}; or set `environment`",
    )


def _unmet(site: Path, python: str) -> list[str]:
    """Return what the installed packages need on the target's Python, but lack."""
    found = {
        canonicalize_name(one.name): one for one in distributions(path=[str(site)])
    }
    needs = [Requirement(text) for one in found.values() for text in one.requires or ()]
    return [
        _plain(need)
        for need in needs
        if _applies(need, python) and canonicalize_name(need.name) not in found
    ]


def _is_packed(path: Path) -> bool:
    """Leave out programs, which name this machine's Python, and what pip notes."""
    noted = ("INSTALLER", "REQUESTED", "direct_url.json")
    is_note = path.parent.suffix == ".dist-info" and path.name in noted
    return path.parts[0] != "bin" and "__pycache__" not in path.parts and not is_note


def _as_packed(record: Path) -> bytes:
    """Return a RECORD without the lines of files that are left out."""
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [
        line
        for line in lines
        if not line.startswith("../") and _is_packed(Path(line.partition(",")[0]))
    ]
    return "".join(sorted(kept)).encode()


def _packages_in(packed: Path) -> tuple[str, ...]:
    with tarfile.open(packed) as tar:
        parts = [Path(name).parent.name for name in tar.getnames()]
    ending = ".dist-info"
    return tuple(sorted({p.removesuffix(ending) for p in parts if p.endswith(ending)}))
