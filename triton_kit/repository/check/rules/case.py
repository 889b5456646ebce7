"""The input of a rule, and the problems that it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.repository.check.findings import ERROR
from triton_kit.repository.check.folder import ModelFolder
from triton_kit.repository.check.target import Target
from triton_kit.repository.config.parse import ParsedConfig
from triton_kit.repository.config.places import Place, Step
from triton_kit.triton.schema import Message

FieldPath = Sequence[Step]

# Backends that read inputs, outputs and batch size from the model file, if asked.
COMPLETING_BACKENDS = frozenset(
    {
        *("dali", "onnxruntime", "openvino", "python", "pytorch", "tensorflow"),
        *("tensorrt", "vllm"),
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken rule, before its place is looked up.

    Attributes:
        rule: the id of the rule.
        server_text: the server's message; empty where it has none.
        at: the field at fault; empty for the file as a whole.
        message: what is wrong, if the server's message is not clear enough.
        hint: what to do about it.
        severity: `error` or `warning`.
        file: the file at fault, where it is not the config.
        place: the place in it, where it is known already.
    """

    rule: str
    server_text: str = ""
    at: FieldPath = ()
    message: str = ""
    hint: str | None = None
    severity: str = ERROR
    file: Path | None = None
    place: Place | None = None


@dataclass(slots=True)
class Case:
    """One model as the server sees it once its config is read and completed.

    Attributes:
        folder: what lies on disk.
        parsed: the config as written; None where there is no file.
        config: the config after the server has filled in what it fills in.
        target: the server that judges.
    """

    folder: ModelFolder
    parsed: ParsedConfig | None
    config: Message
    target: Target
    versions: tuple[int, ...] = field(default=())

    @property
    def name(self) -> str:
        """The model's name as the config has it: the server names it so."""
        return str(self.config.name)

    @property
    def written(self) -> Message:
        """The config before anything was filled in."""
        return self.parsed.config if self.parsed else type(self.config)()

    @property
    def completes(self) -> bool:
        """Whether the backend fills inputs, outputs and batch size in by itself."""
        return not self.target.strict and self.config.backend in COMPLETING_BACKENDS

    @property
    def is_ensemble(self) -> bool:
        """Whether the model is an ensemble to the server's loader."""
        return bool(self.config.HasField("ensemble_scheduling"))


Problems = Iterator[Problem]
Rule = Callable[[Case], Problems]


def has_content(path: Path) -> bool:
    """Whether a model's file, or its folder, is there and not empty."""
    try:
        return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    except OSError:
        return False


def model_file(case: Case, version: int) -> Path:
    """Return the path of a version's model, as its backend opens it."""
    filename: str = case.config.default_model_filename
    return case.folder.path / str(version) / filename
