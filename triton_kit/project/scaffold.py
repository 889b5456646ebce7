"""`triton-kit new`: copy a recipe from the kit's templates into a new folder."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

from triton_kit.errors import SpecError, did_you_mean

_IGNORED = shutil.ignore_patterns("__pycache__", "model_repository")


def recipes() -> list[str]:
    """Return the names of the projects that `scaffold` can write."""
    return sorted(entry.name for entry in _folder().iterdir() if entry.is_dir())


def scaffold(recipe: str, folder: Path) -> None:
    """Write a recipe's project into a new or empty folder.

    Raises:
        SpecError: there is no such recipe, or the folder has something in it.
    """
    if recipe not in recipes():
        raise SpecError(f"no recipe {recipe!r}", hint=did_you_mean(recipe, recipes()))
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SpecError(
            f"{folder}: is there already and not an empty folder",
            hint="name a folder that does not exist yet",
        )
    try:
        with as_file(_folder() / recipe) as source:
            shutil.copytree(source, folder, ignore=_IGNORED, dirs_exist_ok=True)
    except OSError as error:
        raise SpecError(f"{folder}: cannot write it: {error}") from error


def _folder() -> Traversable:
    return files("triton_kit.templates") / "projects"
