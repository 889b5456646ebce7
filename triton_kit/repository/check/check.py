"""A repository becomes findings: the server's verdict, without the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.repository.check.examine import Examined, examine
from triton_kit.repository.check.findings import ERROR, WARNING, CheckReport, Finding
from triton_kit.repository.check.folder import is_folder, readable
from triton_kit.repository.check.rules.case import Problem
from triton_kit.repository.check.rules.pipeline import (
    Outcome,
    check_circle,
    check_steps,
    entangled,
)
from triton_kit.repository.check.rules.wiring import is_decoupled
from triton_kit.repository.check.target import Target
from triton_kit.repository.config.places import NOWHERE


def check_repository(
    path: str | Path,
    *,
    server: str = "2.51",
    gpus: int = 0,
    strict: bool = False,
    backends: Collection[str] | None = None,
) -> CheckReport:
    """Say which models of a repository a Triton server would refuse, and why.

    Args:
        path: the repository: a folder of model folders.
        server: the server's version (`2.51`) or release (`24.10`).
        gpus: how many GPUs the server sees.
        strict: whether it runs with --disable-auto-complete-config.
        backends: the backends that it has; None: those of the release's containers.

    Raises:
        RepositoryError: there is no such folder, or it cannot be listed.
        SpecError: there is no such server.
    """
    target = Target(
        server=server,
        gpus=gpus,
        strict=strict,
        backends=None if backends is None else frozenset(backends),
    )
    root = Path(path)
    folders = _model_folders(root)
    checked = _Checked({f.name: examine(root / f, target) for f in folders})
    for name in checked.models:
        checked.finish(name)
    findings = [
        _finding(problem, examined)
        for examined in checked.models.values()
        for problem in examined.problems
    ]
    return CheckReport(
        root=root,
        server=server,
        models=tuple(examined.folder.name for examined in checked.models.values()),
        findings=(*_repository_findings(root, folders), *findings),
    )


def _model_folders(root: Path) -> list[Path]:
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
    return [Path(name) for name in sorted(names, key=os.fsencode)]


def _model_not_repository(root: Path) -> RepositoryError:
    return RepositoryError(
        f"{root}: this is a model, not a repository: it holds a config.pbtxt",
        hint=f"name the folder around it: {root.resolve().parent}",
    )


class _Checked:
    """All models of a repository; ensembles are finished after their steps."""

    def __init__(self, models: dict[str, Examined]) -> None:
        self.models = models
        self.outcomes: dict[str, Outcome] = {}
        self._steps = {
            name: tuple(
                step.model_name
                for step in examined.case.config.ensemble_scheduling.step
            )
            for name, examined in models.items()
            if examined.case is not None
            and examined.is_polled
            and examined.case.is_ensemble
        }
        tangle = entangled(self._steps)
        self._tangle = {name: self._steps[name] for name in tangle}

    def finish(self, name: str) -> None:
        """Check an ensemble against its steps, its steps first; note what became of it.

        A stack of its own: a chain of ensembles may be longer than Python's.
        """
        waiting = [name]
        while waiting:
            last = waiting[-1]
            open_step = None if last in self._tangle else self._open_step(last)
            if open_step is not None:
                waiting.append(open_step)
                continue
            waiting.pop()
            if last not in self.outcomes:
                self._finish_one(last)

    def _open_step(self, name: str) -> str | None:
        steps = self._steps.get(name, ())
        return next(
            (s for s in steps if s in self.models and s not in self.outcomes), None
        )

    def _finish_one(self, name: str) -> None:
        examined = self.models[name]
        case, misfits = examined.case, []
        if case is not None and name in self._tangle:
            misfits = list(check_circle(case, self._tangle))
        elif case is not None and name in self._steps:
            known = {s: self.outcomes.get(s) for s in self._steps[name]}
            misfits = list(check_steps(case, known, self.models))
        examined.add_first(misfits)
        self.outcomes[name] = self._outcome(examined, is_valid=not misfits)

    def _outcome(self, examined: Examined, *, is_valid: bool) -> Outcome:
        reason = next((p for p in examined.problems if p.severity == ERROR), None)
        if not examined.is_polled or examined.case is None:
            return Outcome(reason=reason)
        case = examined.case
        if case.is_ensemble:
            decoupled = is_decoupled(case, self.outcomes)
        else:
            decoupled = bool(case.config.model_transaction_policy.decoupled)
        return Outcome(
            case=case,
            reason=reason,
            is_valid=is_valid,
            is_decoupled=decoupled,
            knows_tensors=examined.knows_tensors,
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
        path=_printable(path),
        line=place.line,
        column=place.column,
        message=problem.message or problem.server_text,
        hint=problem.hint,
        server_text=problem.server_text,
    )


def _printable(path: Path) -> Path:
    return Path(readable(str(path)))


def _repository_findings(root: Path, folders: Iterable[Path]) -> list[Finding]:
    """What is odd about the repository as a whole."""

    def warning(rule: str, path: Path, message: str, hint: str) -> Finding:
        return Finding(
            model="",
            rule=rule,
            severity=WARNING,
            path=_printable(path),
            line=0,
            column=0,
            message=message,
            hint=hint,
            server_text="",
        )

    names = list(folders)
    if not names:
        return [warning("K20", root, "there is no model in it", _LAYOUT)]
    return [*_strangers(root, names, warning)]


_LAYOUT = "a model is a folder NAME with config.pbtxt and NAME/1/model.*"
_Warning = Callable[[str, Path, str, str], Finding]


def _strangers(
    root: Path, folders: Iterable[Path], warning: _Warning
) -> Iterable[Finding]:
    """Links that leave the repository."""
    real_root = os.path.realpath(root)
    for name in folders:
        path = root / name
        if path.is_symlink():
            target = os.path.realpath(path)
            if os.path.commonpath([real_root, target]) != real_root:
                message = f"the model is a link out of the repository, to {target}"
                yield warning("K21", path, message, "copy the model into it")
