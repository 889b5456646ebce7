"""Changes in a repository become loads and unloads of the server of its models."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from triton_kit.errors import RepositoryError, ServerError, SpecError, TransportError
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.check.findings import CheckReport
from triton_kit.serving.readiness import reasons_in_log, tidy
from triton_kit.serving.server import Server
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.spec_checks import ALL_MODELS

_INTERVAL_S = 0.5
# A file that was not changed for so long is whole, unless its writer pauses.
_QUIET_S = 1.0
# What a file is known by: its path in the model's folder, time and size.
FolderState = frozenset[tuple[str, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of a changed model: `kept` is the old state, for a reason."""

    model: str
    outcome: Literal["loaded", "unloaded", "kept"]
    reason: str = ""


def watched_spec(spec: ServeSpec) -> ServeSpec:
    """Return the spec of a server whose models the kit loads: all of them at first.

    Raises:
        SpecError: another control mode was chosen.
    """
    if spec.model_control != "none":
        raise SpecError(
            f"--watch and --model-control-mode {spec.model_control}",
            hint="leave the mode out: the kit loads what changes",
        )
    return replace(spec, model_control="explicit", models=(ALL_MODELS,))


@dataclass(slots=True)
class Watcher:
    """Follows the repositories of a running server.

    A changed model is loaded once its files are quiet and the check accepts it. If it
    does not load, the server keeps the old one, and the next change of any model is
    the next try.

    Attributes:
        before: `folder_states` from before the server started: a change during the
            start may have come too late for it.
        quiet_s: seconds without a change after which a file is whole.
    """

    spec: ServeSpec
    server: Server
    before: Mapping[str, FolderState]
    quiet_s: float = _QUIET_S
    _acted_on: dict[str, FolderState] = field(init=False)
    _last: dict[str, FolderState] = field(init=False)
    _kept: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._last = dict(self.before)
        self._acted_on = dict(self.before)

    def watch(self) -> Iterator[Change]:
        """Yield changes for as long as the server runs.

        Raises:
            ServerError: it ended.
        """
        while True:
            with suppress(subprocess.TimeoutExpired):
                self.server.process.wait(_INTERVAL_S)
                self.server.wait()  # raises what it died of
            yield from self.step()

    def step(self) -> Iterator[Change]:
        """Act on what changed since the last step and is quiet now."""
        found, last = folder_states(self.spec), self._last
        self._last = found
        changed = {
            name
            for name in {**self._acted_on, **found}
            if found.get(name) != self._acted_on.get(name)
            and found.get(name) == last.get(name)
            and _is_quiet(found.get(name, frozenset()), self.quiet_s)
        }
        if not changed:
            return
        report = self._check()
        again = self._kept & found.keys()
        for name in sorted(changed | again, key=lambda n: (self._is_ensemble(n), n)):
            self._kept.discard(name)
            change = self._load(name, report) if name in found else self._unload(name)
            if change.outcome == "kept":
                self._kept.add(name)
            if name in changed:
                self._acted_on.pop(name, None)
                self._acted_on.update({name: found[name]} if name in found else {})
            yield change

    def _is_ensemble(self, name: str) -> bool:
        """Whether a model has steps, which are loaded before it."""
        paths = (root / name / "config.pbtxt" for root in self.spec.repositories)
        return any(
            "ensemble_scheduling" in path.read_text("utf-8", errors="replace")
            for path in paths
            if path.is_file()
        )

    def _check(self) -> CheckReport | str:
        try:
            return check_repository(
                self.spec.repositories,
                server="embedded",
                strict=self.spec.strict_model_config,
                config_name=self.spec.features.config_name,
                namespacing=self.spec.features.namespacing,
            )
        except RepositoryError as error:
            return error.message

    def _load(self, name: str, report: CheckReport | str) -> Change:
        if isinstance(report, str):
            return Change(model=name, outcome="kept", reason=report)
        if name in report.rejected_models():
            finding = report.reason(name)
            reason = finding.message if finding else "the check rejects the repository"
            return Change(model=name, outcome="kept", reason=reason)
        try:
            self.server.control.load(name, within_s=self.spec.ready_within_s)
        except (ServerError, TransportError) as error:
            reason = tidy(error.message)
            if "failed to poll from model repository" in reason:
                reason = reasons_in_log(self.server.log).get(name, reason)
            return Change(model=name, outcome="kept", reason=reason)
        return Change(model=name, outcome="loaded")

    def _unload(self, name: str) -> Change:
        try:
            self.server.control.unload(name)
        except (ServerError, TransportError) as error:
            return Change(model=name, outcome="kept", reason=tidy(error.message))
        return Change(model=name, outcome="unloaded")


def folder_states(spec: ServeSpec) -> dict[str, FolderState]:
    """Return the state of each model's folder; hidden folders are being written."""
    found = {}
    for root in spec.repositories:
        with suppress(OSError):
            for folder in root.iterdir():
                if folder.is_dir() and not folder.name.startswith("."):
                    found[folder.name] = _state(folder)
    return found


def _state(folder: Path) -> FolderState:
    files = set()
    for path in folder.rglob("*"):
        # It may be gone by now: the next look tells.
        with suppress(OSError):
            stat = path.stat()
            if path.is_file() and "__pycache__" not in path.parts:
                relative = str(path.relative_to(folder))
                files.add((relative, stat.st_mtime_ns, stat.st_size))
    return frozenset(files)


def _is_quiet(state: FolderState, quiet_s: float) -> bool:
    """Whether the newest file is old enough to be whole.

    A time in the future is that of a file that was copied with its time.
    """
    newest_s = max((time_ns for _, time_ns, _ in state), default=0) / 1e9
    return not 0 <= time.time() - newest_s < quiet_s
