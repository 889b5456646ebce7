"""Names and paths of a model repository: `MODEL/config.pbtxt`, `MODEL/1/model.onnx`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from triton_kit.errors import RepositoryError, SpecError

CONFIG_FILE = "config.pbtxt"
MANIFEST_FILE = "manifest.json"
ARTIFACT_NAMES = {
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
    "python": "model.py",
}
# A name is a folder and part of URLs; Triton's own servers were broken through
# names that leave the repository (CVE-2025-23316, CVE-2026-47487).
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def model_folder(root: Path, name: str) -> Path:
    """Return a model's folder in a repository.

    Raises:
        SpecError: the name is none that a model may have.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise SpecError(
            f"{name!r} cannot be a model's name",
            hint="letters, digits, '_', '.', '-'; first a letter or digit; at most 128",
        )
    return root / name


def versions(model: Path) -> list[int]:
    """Return the versions in a model's folder, ascending."""
    if not model.is_dir():
        return []
    names = [entry.name for entry in model.iterdir() if entry.is_dir()]
    return sorted(int(name) for name in names if is_version(name))


def is_version(name: str) -> bool:
    """Whether a folder's name is that of a version; `01` is none."""
    return name.isdecimal() and str(int(name)) == name


def model_names(root: Path) -> list[str]:
    """Return the names of the models in a repository, sorted.

    Raises:
        RepositoryError: there is no such folder.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise RepositoryError(
            f"{root}: expected the folder of a model repository, found {found}",
            hint="`triton-kit build` writes one",
        )
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())
