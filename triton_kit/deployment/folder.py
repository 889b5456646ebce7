"""The files of a deployment become a folder: all of them, or none.

A manifest beside them lists what the kit wrote. A later run replaces those files, and
only those; what the user adds (an overlay of their own) stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.files import read_bytes, read_json, write_all

MANIFEST = ".triton-kit-deploy.json"


def write_folder(folder: Path, target: str, files: Mapping[str, str]) -> None:
    """Write a deployment, or a new state of it.

    Args:
        folder: new, empty, or with an earlier state of the same target.
        target: what the files are for.
        files: texts by their path in the folder.

    Raises:
        SpecError: the folder has something else in it, one of its files was edited, or
            it cannot be written; it is as it was then.
    """
    try:
        _write(folder, target, files)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(f"{folder}: cannot write it: {reason}") from error


def _write(folder: Path, target: str, files: Mapping[str, str]) -> None:
    old = _earlier(folder, target)
    for name in files:
        if name not in old and (folder / name).exists():
            raise SpecError(
                f"{folder / name}: exists, and the kit did not write it",
                hint="rename it, or name another folder",
            )
    manifest = {
        "target": target,
        "files": {name: _digest(text.encode()) for name, text in files.items()},
    }
    texts = dict(files) | {MANIFEST: json.dumps(manifest, indent=2) + "\n"}
    write_all({folder / name: text for name, text in texts.items()})
    for name in old.keys() - files.keys():
        with suppress(OSError):  # it is gone, or its folder has other files
            (folder / name).unlink()
            (folder / name).parent.rmdir()


def _earlier(folder: Path, target: str) -> dict[str, str]:
    """Return the digests of the files that the kit wrote; refuse other content."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    if not (folder / MANIFEST).is_file():
        raise SpecError(
            f"{folder}: is there already, and no deployment that the kit wrote",
            hint="name a folder that does not exist yet",
        )
    found, files = _read_manifest(folder / MANIFEST)
    if found != target:
        raise SpecError(
            f"{folder}: holds a deployment for {found}, not for {target}",
            hint="name another folder",
        )
    for name, digest in files.items():
        path = folder / name
        if path.is_file() and _digest(read_bytes(path)) != digest:
            raise SpecError(
                f"{path}: was edited since the kit wrote it",
                hint="keep changes in files of your own (an overlay), and remove this "
                "one; or name another folder",
            )
    return files


def _read_manifest(path: Path) -> tuple[str, dict[str, str]]:
    """Return the target and the digests by name; a name stays below the folder."""
    match read_json(path):
        case {"target": str(target), "files": dict(files)} if all(
            not Path(name).is_absolute() and ".." not in Path(name).parts
            for name in files
        ):
            return target, files
    raise SpecError(
        f"{path}: not what the kit writes there", hint="name another folder"
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
