"""Whether the user of the container can read what is mounted there."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.serving.containers.container import USER_ID


def require_readable(paths: Iterable[Path]) -> None:
    """Refuse files and folders that the container's user cannot read.

    Raises:
        SpecError: one of them is for another user only.
    """
    for root in paths:
        for path in (root, *_below(root)):
            found = path.stat()
            needed = 0o5 if stat.S_ISDIR(found.st_mode) else 0o4
            shift = 6 if found.st_uid == USER_ID else 3 * (found.st_gid == USER_ID)
            if (found.st_mode >> shift) & needed != needed:
                raise SpecError(
                    f"{path}: user {USER_ID} of the container cannot read it "
                    f"(mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid})",
                    hint=f"chmod -R a+rX {root}, or chown -R {USER_ID} {root}",
                )


def _below(root: Path) -> Iterator[Path]:
    for path in root.rglob("*") if root.is_dir() else ():
        if path.exists() and "__pycache__" not in path.parts:
            yield path
