"""A repository as a whole: what keeps the server from listing it, and odd links."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from triton_kit.repository.check.findings import ERROR, WARNING, Finding
from triton_kit.repository.check.folder import is_folder, readable
from triton_kit.repository.check.rules.links import dangling_links

_LAYOUT = "a model is a folder NAME with config.pbtxt and NAME/1/model.*"


def repository_findings(root: Path) -> Iterator[Finding]:
    """F5, K20, K21."""
    for path in dangling_links(root):
        yield _finding(
            "F5",
            path,
            f"the link {readable(path.name)} leads nowhere: the server cannot list the "
            "repository and serves no model of it",
            "remove the link, or restore what it leads to",
            server_text=f"failed to poll model repository '{root}': failed to stat "
            f"file {path}",
        )
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if is_folder(entry))
    if not names:
        yield _finding("K20", root, "there is no model in it", _LAYOUT)
    yield from _links_out(root, names)


def _links_out(root: Path, names: list[str]) -> Iterator[Finding]:
    real_root = os.path.realpath(root)
    for name in names:
        path = root / name
        if path.is_symlink():
            target = os.path.realpath(path)
            if os.path.commonpath([real_root, target]) != real_root:
                message = f"the model is a link out of the repository, to {target}"
                yield _finding("K21", path, message, "copy the model into it")


def _finding(
    rule: str, path: Path, message: str, hint: str, *, server_text: str = ""
) -> Finding:
    return Finding(
        model="",
        rule=rule,
        severity=ERROR if server_text else WARNING,
        path=Path(readable(str(path))),
        line=0,
        column=0,
        message=message,
        hint=hint,
        server_text=readable(server_text),
    )
