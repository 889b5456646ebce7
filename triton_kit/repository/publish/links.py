"""What is in a model's folder, and the links there that leave the repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.repository.publish.compare_files import Problem


def entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder but real folders; links are not followed.

    Raises:
        OSError: a folder cannot be read.
    """
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield entry


def link_out(path: str, real_root: str) -> Problem | None:
    """Return the problem of a link that leaves the repository at `real_root`."""
    target = os.path.realpath(path)
    if target == real_root or target.startswith(real_root.rstrip("/") + "/"):
        return None
    return Problem(Path(path), f"is a link out of the repository, to {target}")


def refuse_links_out(folder: Path, root: Path) -> None:
    """Refuse a model or a version with a link that leads out of its repository.

    Raises:
        RepositoryError: there is one; it is named.
    """
    links = [str(folder)] if folder.is_symlink() else []
    links += [entry.path for entry in entries(str(folder)) if entry.is_symlink()]
    for link in sorted(links):
        if problem := link_out(link, os.path.realpath(root)):
            raise RepositoryError(
                f"{problem.path}: {problem.what}",
                hint="put the file itself there",
            )
