"""What a check finds, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ERROR = "error"
WARNING = "warning"
# No rule of the check: the embedded server was asked, and rejects the model.
SERVER_RULE = "SERVER"
# The server does not reject these: it dies of them.
ABORTING_RULES = frozenset({"A2", "E27", "F2", "G8", "L3", "N5", "V5", "W8"})
# ... and never finishes loading these.
BLOCKING_RULES = frozenset({"Y1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or that is most likely not intended.

    Attributes:
        model: the model's folder name; empty for the repository itself.
        rule: the id of the rule (docs/validation.md lists them).
        severity: `error`, the server would reject the model; or `warning`.
        path: the file or folder at fault.
        line: its line, from 1; 0 where no line is meant.
        column: the column in characters, from 1; 0 where none is meant.
        message: what is wrong.
        hint: what to do about it, where that is known.
        server_text: the server's own message; empty for what it does not check.
        at: the field of the config at fault, as names, indices and keys.
    """

    model: str
    rule: str
    severity: str
    path: Path
    line: int
    column: int
    message: str
    hint: str | None
    server_text: str
    at: tuple[str | int, ...] = ()

    @property
    def aborts_server(self) -> bool:
        """Whether a 2.51 server would abort instead of rejecting the model."""
        return self.rule in ABORTING_RULES

    @property
    def blocks_server(self) -> bool:
        """Whether a 2.51 server would wait for the model and never respond."""
        return self.rule in BLOCKING_RULES

    @property
    def place(self) -> str:
        """The place as compilers write it: `path:line:column`."""
        if not self.line:
            return str(self.path)
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was checked, against which server, and what was found.

    Attributes:
        root: the repository; the first, where several are served together.
        server: the server version of the verdict.
        models: the names of all models, in the order of the server.
        findings: in the order in which the server would meet them, model by model.
        roots: all repositories.
        embedded_lacks: by model, the features that the embedded server has only with
            its native onnxruntime backend.
    """

    root: Path
    server: str
    models: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=())
    roots: tuple[Path, ...] = ()
    embedded_lacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        verdict = "accepted" if self.accepted else "rejected"
        counts = f"{len(self.errors)} errors, {len(self.warnings)} warnings"
        return f"CheckReport({str(self.root)!r}, {verdict}: {counts})"

    @property
    def accepted(self) -> bool:
        """Whether the server would load every model."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings for which the server would reject a model."""
        return tuple(f for f in self.findings if f.severity == ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that the server would accept."""
        return tuple(f for f in self.findings if f.severity == WARNING)

    def rejected_models(self) -> tuple[str, ...]:
        """The names of the models that the server would not load.

        All of them, if it cannot list the repository.
        """
        if any(not f.model for f in self.errors):
            return self.models
        return tuple(dict.fromkeys(f.model for f in self.errors if f.model))

    def reason(self, model: str) -> Finding | None:
        """The finding that the server would name for a model; None if it loads."""
        return next((f for f in self.errors if f.model == model), None)
