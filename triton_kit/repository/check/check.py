"""A repository becomes findings: the server's verdict, without the server."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.repository.check.checked import Checked, unique_keys
from triton_kit.repository.check.examine import Examined, examine
from triton_kit.repository.check.findings import CheckReport, Finding
from triton_kit.repository.check.folder import is_folder, readable
from triton_kit.repository.check.rules.case import Problem
from triton_kit.repository.check.target import Target
from triton_kit.repository.check.whole import repository_findings
from triton_kit.repository.config.places import NOWHERE

StrPath = str | os.PathLike[str]


def check_repository(
    path: StrPath | Sequence[StrPath],
    *,
    server: str = "2.51",
    gpus: int = 0,
    strict: bool = False,
    backends: Collection[str] | None = None,
    config_name: str = "",
    namespacing: bool = False,
) -> CheckReport:
    """Return which models of a repository a Triton server would refuse, and why.

    Args:
        path: the repository: a folder of model folders; or several, served together.
        server: the server's version (`2.51`) or release (`24.10`).
        gpus: how many GPUs the server sees.
        strict: whether it runs with --disable-auto-complete-config.
        backends: the backends that it has; None: those of the release's containers.
        config_name: its --model-config-name: configs/NAME.pbtxt takes precedence.
        namespacing: whether it runs with --model-namespacing.

    Raises:
        RepositoryError: there is no such folder, or it cannot be listed.
        SpecError: there is no such server.
    """
    target = Target(
        server=server,
        gpus=gpus,
        strict=strict,
        backends=None if backends is None else frozenset(backends),
        config_name=config_name,
    )
    paths = [path] if isinstance(path, str | os.PathLike) else path
    roots = [Path(p) for p in paths]
    folders = [root / name for root in roots for name in _model_folders(root)]
    keys = unique_keys(folders)
    checked = Checked(
        {key: examine(folder, target) for key, folder in keys.items()},
        namespacing=namespacing,
    )
    checked.finish_all()
    return CheckReport(
        root=roots[0],
        server=server,
        models=tuple(examined.folder.name for examined in checked.models.values()),
        findings=tuple(_all_findings(roots, checked)),
        roots=tuple(roots),
        embedded_lacks=checked.embedded_lacks(),
    )


def _all_findings(roots: Iterable[Path], checked: Checked) -> Iterator[Finding]:
    for root in roots:
        yield from repository_findings(root)
    for examined in checked.models.values():
        for problem in examined.problems:
            yield _finding(problem, examined)


def _model_folders(root: Path) -> list[str]:
    """Return the names of the model folders, in the server's order."""
    try:
        names = [entry.name for entry in os.scandir(root) if is_folder(entry)]
    except OSError as error:
        raise RepositoryError(
            f"{root}: cannot be checked: {error.strerror}",
            hint="name the folder that holds the model folders",
        ) from error
    if not names and (root / "config.pbtxt").exists():
        raise _model_not_repository(root)
    if (root / "config.pbtxt").is_file() and all(name.isdigit() for name in names):
        raise _model_not_repository(root)
    return sorted(names, key=os.fsencode)


def _model_not_repository(root: Path) -> RepositoryError:
    return RepositoryError(
        f"{root}: this is a model, not a repository: it holds a config.pbtxt",
        hint=f"name the folder around it: {root.resolve().parent}",
    )


def _finding(problem: Problem, examined: Examined) -> Finding:
    place = problem.place or NOWHERE
    path = problem.file
    if path is None and examined.parsed is not None:
        path = examined.folder.config_path
        place = examined.parsed.place(*problem.at)
    path = path or examined.folder.path
    return Finding(
        model=examined.folder.name,
        rule=problem.rule,
        severity=problem.severity,
        path=Path(readable(str(path))),
        line=place.line,
        column=place.column,
        message=problem.message or problem.server_text,
        hint=problem.hint,
        server_text=problem.server_text,
        at=tuple(problem.at),
    )
