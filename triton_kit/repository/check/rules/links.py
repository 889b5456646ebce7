"""Links that lead nowhere: the server cannot list the folder that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from triton_kit.repository.check.folder import ModelFolder, is_dangling, readable
from triton_kit.repository.check.rules.case import Problem


def check_links(folder: ModelFolder) -> Iterator[Problem]:
    """F6: one such link beside the versions, and the model is not loaded."""
    for name in folder.dangling[:1]:
        path = folder.path / name
        yield Problem(
            "F6",
            f"failed to stat file {path}",
            message=f"the link {name} leads nowhere: the server cannot list the model",
            hint="remove the link, or restore what it leads to",
            file=path,
        )


def dangling_links(root: Path) -> list[Path]:
    """Return the links in a repository's folder that lead nowhere, sorted."""
    return [path for path in sorted(root.iterdir(), key=_as_text) if is_dangling(path)]


def _as_text(path: Path) -> str:
    return readable(path.name)
