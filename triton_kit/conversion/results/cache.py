"""Finished artifacts by content: the same spec gives the same entry."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from triton_kit import conversion
from triton_kit.conversion.results.manifest import (
    MANIFEST,
    as_text,
    digests,
    metadata_files,
    read_manifest,
    sha256,
    spec_facts,
    tool_versions,
)
from triton_kit.conversion.results.result import result_from_manifest
from triton_kit.conversion.spec import ConvertResult, ConvertSpec
from triton_kit.errors import ConvertError
from triton_kit.files import make_cache, refuse_shared_cache
from triton_kit.gpu import compute_capabilities

Json = Any
_TRITON_FILES = ("onnx_limits.py", "releases.py", "releases.json")


def cache_key(spec: ConvertSpec) -> str | None:
    """Return a digest of all that an artifact depends on.

    None where that cannot be known: a function that makes a torch module may take its
    weights from anywhere. None as well where a file cannot be read: reading it later
    reports that.

    The bytes of the source, of every sample file and of the code that the user's passes
    and comparison may import; every option; the versions of all tools, and the code and
    the tables of this package that decide what an artifact is.
    """
    if not isinstance(spec.source, Path):
        return None
    try:
        facts = _facts(spec, spec.source)
    except OSError:
        return None
    return hashlib.sha256(as_text(facts).encode()).hexdigest()


def _facts(spec: ConvertSpec, source: Path) -> dict[str, Json]:
    return {
        "source": digests(source),
        "spec": spec_facts(spec),
        "functions": {name: _module_digest(name, spec.root) for name in _named(spec)},
        "option_files": _option_files(spec.options),
        "tools": tool_versions(),
        "python": sys.version,
        "code": own_code(),
        # A plan is for the GPU that it was built on.
        "gpus": compute_capabilities() if spec.format == "plan" else (),
    }


def files_of_user_code(spec: ConvertSpec) -> dict[str, Path]:
    """Return the modules that the user's functions may import, by name below the root.

    None of functions that are installed.
    """
    folder = spec.root or Path.cwd()
    names = [*_named(spec), *([spec.source] if isinstance(spec.source, str) else [])]
    for name in names:
        here = folder / Path(*name.partition(":")[0].split("."))
        if here.with_suffix(".py").is_file() or here.is_dir():
            files = _files(folder, ".py")
            return {file.relative_to(folder).as_posix(): file for file in files}
    return {}


def _named(spec: ConvertSpec) -> list[str]:
    """Return the names of all code of the user that a conversion runs."""
    return [*spec.passes, *filter(None, [spec.gate.function])]


def _module_digest(name: str, root: Path | None) -> str | None:
    """Return a digest of `package.module:function` and of what it may import.

    That is every module below the folder it is imported from; of one that is installed,
    its own file.
    """
    module, folder = name.partition(":")[0], root or Path.cwd()
    here = folder / Path(*module.split("."))
    if here.with_suffix(".py").is_file() or (here / "__init__.py").is_file():
        return _digest(folder, _files(folder, ".py"))
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        return None
    return sha256(Path(found.origin)) if found and found.origin else None


def _digest(folder: Path, files: Iterable[Path]) -> str:
    facts = {str(p.relative_to(folder)): sha256(p) for p in sorted(files)}
    return hashlib.sha256(as_text(facts).encode()).hexdigest()


def _files(folder: Path, *suffixes: str) -> Iterator[Path]:
    """Yield the files below a folder, but for hidden and virtual environments'."""
    for place, folders, files in os.walk(folder):
        within = Path(place)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not (within / name / "pyvenv.cfg").exists()
        ]
        yield from (within / name for name in files if name.endswith(suffixes))


def _option_files(options: Mapping[str, str]) -> dict[str, str]:
    texts = [part for text in options.values() for part in text.split(",")]
    return {text: sha256(Path(text)) for text in texts if Path(text).is_file()}


def own_code(package: Path = Path(conversion.__file__).parents[1]) -> str:
    """Return a digest of the kit's code and tables that decide what an artifact is."""
    files = [package / "triton" / name for name in _TRITON_FILES]
    for room in ("conversion", "options"):
        files += _files(package / room, ".py", ".json")
    return _digest(package, files)


def open_entry(spec: ConvertSpec, stack: ExitStack) -> Path | None:
    """Return the locked cache entry of a spec; None where it has none."""
    if spec.cache is None or spec.dry_run:
        return None
    key = cache_key(spec)
    return stack.enter_context(locked_entry(spec.cache, key)) if key else None


def cached_result(
    entry: Path, spec: ConvertSpec, scratch: Path
) -> tuple[ConvertResult, list[Path]] | None:
    """Return the result that an entry holds, and the files to publish."""
    facts = read_entry(entry)
    if facts is None:
        return None
    files = [entry / name for name in facts["files"]]
    files += metadata_files(spec, facts, scratch)
    return result_from_manifest(facts, spec, seconds=0.0), files


@contextmanager
def locked_entry(cache: Path, key: str) -> Iterator[Path]:
    """Yield the folder of an entry, which may not exist; no other process has it.

    Raises:
        ConvertError: the cache cannot be written.
    """
    lock = FileLock(cache / f"{key}.lock")
    try:
        make_cache(cache)
        lock.acquire()
    except OSError as error:
        raise ConvertError(
            f"{cache}: cannot write the cache: {error.strerror or error}",
            hint="choose another folder (--cache), or none",
        ) from error
    with lock:
        lock.release()  # `with` counts it a second time
        yield cache / key


def read_entry(entry: Path) -> Mapping[str, Json] | None:
    """Return an entry's manifest; None where there is none or a file is not as it was.

    A file that changed on disk is worse than no cache: the entry is dropped.
    """
    manifest = entry / MANIFEST
    if not manifest.is_file():
        return None
    refuse_shared_cache(entry)
    try:
        facts = read_manifest(manifest)
        intact = all(
            sha256(entry / name) == file["sha256"]
            for name, file in facts["files"].items()
        )
    except (OSError, ConvertError):
        intact = False  # also a manifest that is JSON of another form
    if not intact:
        shutil.rmtree(entry, ignore_errors=True)
        return None
    return facts


def write_entry(entry: Path, files: Sequence[Path]) -> None:
    """Copy files into an entry, which appears by rename; its lock is held.

    Raises:
        OSError: the disk is full; nothing is left.
    """
    staged = entry.with_name(f".new-{entry.name}")
    shutil.rmtree(staged, ignore_errors=True)  # left by a killed conversion
    try:
        staged.mkdir(mode=0o700)
        for file in files:
            shutil.copyfile(file, staged / file.name)
        staged.rename(entry)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
