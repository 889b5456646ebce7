"""What a Python model's requirements file asks for becomes a packed environment."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from triton_kit.errors import SpecError
from triton_kit.files import make_cache, refuse_shared_cache
from triton_kit.process import python_command, run_child
from triton_kit.python_environment import ENVIRONMENT_FILE, pack_packages, this_python
from triton_kit.requirements_file import applies, file_facts, required_packages
from triton_kit.scratch import scratch_folder
from triton_kit.triton.releases import Release

_FORMAT = 2  # of the packed file: a cached one of another format is not used
_PIP_WITHIN_S = 1800.0
# By the container's Python, which tells its Ubuntu: the newest glibc of a wheel.
_GLIBC = {"3.10": 35, "3.12": 39}
# Their Python backend was built before NumPy 2: outputs would arrive empty.
_BEFORE_NUMPY_2 = "3.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A packed environment: its file, the Python that it is for, and what is in it."""

    path: Path
    python: str
    packages: tuple[str, ...]  # name and version: `click-8.1.7`


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
    words = _target_words(python) if release else []
    limits = "numpy<2\n" if release is None or python == _BEFORE_NUMPY_2 else ""
    kept = None
    if cache is not None:
        facts = [_FORMAT, python, platform.machine(), words, limits]
        facts += file_facts(requirements)
        key = hashlib.sha256(repr(facts).encode()).hexdigest()
        kept = cache / "environments" / f"{key}.tar.gz"
        with _writing(cache):
            make_cache(kept.parent)
    if kept is not None and kept.is_file():
        refuse_shared_cache(kept)
        return Packed(path=kept, python=python, packages=_packages_in(kept))
    output = folder / ENVIRONMENT_FILE
    with scratch_folder() as scratch:
        site = scratch / "site"
        _install(requirements, site, words, python=python, limits=limits)
        files: dict[str, bytes | Path] = {
            str(path.relative_to(site)): path
            for path in site.rglob("*")
            if path.is_file() and _is_packed(path.relative_to(site))
        }
        for name, content in files.items():
            if name.endswith(".dist-info/RECORD") and isinstance(content, Path):
                files[name] = _as_packed(content)
        pack_packages(output, files, python=python)
    if cache is not None and kept is not None:
        stage = kept.with_name(f".{kept.name}.{os.getpid()}")
        with _writing(cache):
            shutil.copyfile(output, stage)
            stage.replace(kept)
    return Packed(path=output, python=python, packages=_packages_in(output))


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpecError(
            f"{cache}: cannot write the cache: {error.strerror or error}",
            hint="choose another folder (--cache), or none (--no-cache)",
        ) from error


def _install(
    requirements: Path, site: Path, words: Sequence[str], *, python: str, limits: str
) -> None:
    """Install wheels below a folder; pip evaluates markers for its own Python alone."""
    wanted = required_packages(requirements, python=python)
    own = required_packages(requirements)
    more = [_plain(one) for one in wanted if one not in own]
    limit = site.with_name("constraints.txt")
    limit.write_text(limits)
    words = [*words, "--constraint", str(limit), "-r", str(requirements.absolute())]
    while True:
        _run_pip([*words, *more], requirements, site, python)
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
    # A path in the file starts at the file's folder, wherever the build runs.
    done = run_child(argv, deadline_s=_PIP_WITHIN_S, cwd=requirements.absolute().parent)
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
        if applies(need, python) and canonicalize_name(need.name) not in found
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
