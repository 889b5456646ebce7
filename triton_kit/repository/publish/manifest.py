"""The manifest beside an artifact: what the files are and what they came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.files import TEXT_BYTES, read_json
from triton_kit.repository.publish.layout import MANIFEST_FILE

SCHEMA = 1
_CHUNK_BYTES = 1 << 20


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_manifest(version: Path, facts: Mapping[str, Any]) -> None:
    """Describe every file of a version folder; `facts` describe how they were made.

    The same files and facts give the same bytes: no clock, no path of this machine.
    """
    files = {
        str(path.relative_to(version)): {
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in _files(version)
    }
    document = {"schema": SCHEMA, "files": files, **facts}
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    (version / MANIFEST_FILE).write_text(text, encoding="utf-8")


def read_manifest(version: Path) -> dict[str, Any]:
    """Return a version's manifest.

    Raises:
        RepositoryError: it is missing or is not a manifest.
    """
    path = version / MANIFEST_FILE
    try:
        document = read_json(path, limit=TEXT_BYTES)
    except SpecError as error:
        raise RepositoryError(error.message) from error
    if not isinstance(document, dict) or not isinstance(document.get("files"), dict):
        raise RepositoryError(f"{path}: not a manifest: it lists no files")
    return document


def verify_manifest(version: Path) -> None:
    """Compare a version's files with its manifest.

    Raises:
        RepositoryError: a file is missing, extra or differs; it is named.
    """
    listed = read_manifest(version)["files"]
    found = {str(path.relative_to(version)): path for path in _files(version)}
    for name in sorted(listed.keys() | found.keys()):
        path = version / name
        if name not in found:
            raise RepositoryError(f"{path}: missing, though the manifest lists it")
        if name not in listed:
            raise RepositoryError(f"{path}: not in the manifest")
        if not _is_as_listed(path, listed[name]):
            raise RepositoryError(
                f"{path}: differs from its manifest",
                hint="a published version never changes: build a new one",
            )


def is_whole(version: Path) -> bool:
    """Whether the files that a version's manifest lists are there, as it lists them.

    Others may be there too: a server leaves files of its own.

    Raises:
        RepositoryError: the manifest is missing or is not a manifest.
    """
    listed = read_manifest(version)["files"]
    return all(_is_as_listed(version / name, facts) for name, facts in listed.items())


def _is_as_listed(path: Path, facts: object) -> bool:
    # The size first: it is known without reading the file.
    return (
        isinstance(facts, dict)
        and path.is_file()
        and path.stat().st_size == facts.get("bytes")
        and sha256(path) == facts.get("sha256")
    )


def _files(version: Path) -> list[Path]:
    return sorted(
        path
        for path in version.rglob("*")
        if path.is_file()
        and path != version / MANIFEST_FILE
        # Triton leaves its bytecode beside a model.py that it may write beside.
        and path.parent.name != "__pycache__"
    )
