"""`triton-kit new`: copy a recipe from the kit's templates into a new folder."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

from triton_kit.errors import SpecError, did_you_mean

_IGNORED = shutil.ignore_patterns("__pycache__", "model_repository")


def recipes() -> dict[str, str]:
    """Return the projects that `scaffold` can write: name -> what each shows.

    That is the first line of the recipe's README.md: `# NAME: what it shows`.
    """
    found = {}
    for entry in sorted(_folder().iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            first, _, _ = (entry / "README.md").read_text("utf-8").partition("\n")
            found[entry.name] = first.partition(": ")[2].strip()
    return found


def scaffold(recipe: str, folder: Path) -> None:
    """Write a recipe's project into a new or empty folder.

    Raises:
        SpecError: there is no such recipe, or the folder has something in it.
    """
    if recipe not in recipes():
        raise SpecError(f"no recipe {recipe!r}", hint=did_you_mean(recipe, recipes()))
    require_empty(folder)
    try:
        with as_file(_folder() / recipe) as source:
            shutil.copytree(source, folder, ignore=_IGNORED, dirs_exist_ok=True)
    except OSError as error:
        raise SpecError(f"{folder}: cannot write it: {error}") from error


def require_empty(folder: Path) -> None:
    """Refuse a folder that has something in it, or that is a file.

    Raises:
        SpecError: it is neither missing nor an empty folder.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SpecError(
            f"{folder}: is there already and not an empty folder",
            hint="name a folder that does not exist yet",
        )


def _folder() -> Traversable:
    return files("triton_kit.templates") / "projects"
