"""Versions that wait for a file, such as a plan that a GPU has to build."""

from __future__ import annotations

from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.files import TEXT_BYTES, read_json

MISSING = "missing"  # the key of a manifest that lists such files
WAITS = "M22"  # the rule that reports them


def missing_files(version: Path) -> tuple[str, ...]:
    """Return the files that a version waits for, by its manifest; none without one."""
    try:
        document = read_json(version / "manifest.json", limit=TEXT_BYTES)
    except SpecError:
        return ()
    missing = document.get(MISSING) if isinstance(document, dict) else None
    return tuple(map(str, missing)) if isinstance(missing, list) else ()
