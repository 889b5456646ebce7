"""One model's folder becomes a case and what is wrong with it by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.files import read_bytes
from triton_kit.repository.check.findings import ERROR
from triton_kit.repository.check.folder import ModelFolder, list_folder
from triton_kit.repository.check.incomplete import WAITS
from triton_kit.repository.check.normalize import (
    complete_backend,
    complete_defaults,
    complete_instances,
)
from triton_kit.repository.check.rules.agents import check_agents
from triton_kit.repository.check.rules.artifacts import check_artifacts
from triton_kit.repository.check.rules.backend import check_library, check_strategy
from triton_kit.repository.check.rules.batch_io import check_batch_io
from triton_kit.repository.check.rules.batching import check_dynamic_batching
from triton_kit.repository.check.rules.case import (
    Case,
    Problem,
    Rule,
    has_content,
    model_file,
)
from triton_kit.repository.check.rules.ensemble import check_ensemble
from triton_kit.repository.check.rules.identity import (
    backend_unknown,
    check_identity,
    check_name,
)
from triton_kit.repository.check.rules.instances import check_instances
from triton_kit.repository.check.rules.labels import check_labels
from triton_kit.repository.check.rules.leftovers import check_leftovers
from triton_kit.repository.check.rules.links import check_links
from triton_kit.repository.check.rules.lint import check_habits
from triton_kit.repository.check.rules.onnx_complete import complete_tensors
from triton_kit.repository.check.rules.parameters import check_parameters
from triton_kit.repository.check.rules.python_model import check_python_model
from triton_kit.repository.check.rules.sequence import check_sequence_batching
from triton_kit.repository.check.rules.state import check_states
from triton_kit.repository.check.rules.tensors import check_tensors
from triton_kit.repository.check.rules.textfile import unreadable
from triton_kit.repository.check.rules.transaction import (
    check_metric_tags,
    check_metrics,
    check_transaction,
)
from triton_kit.repository.check.rules.versions import check_versions, served_versions
from triton_kit.repository.check.rules.warmup import check_warmup
from triton_kit.repository.check.target import Target
from triton_kit.repository.config.parse import ConfigSyntaxError, ParsedConfig, parse
from triton_kit.triton.schema import ModelConfig

# What the server checks before it knows whether there is such a model ...
_POLL_RULES: tuple[Rule, ...] = (
    check_identity,
    check_dynamic_batching,
    check_sequence_batching,
    check_ensemble,
    check_transaction,
    check_metrics,
)
# ... and while it loads it. Ensembles have no backend and no instances.
_LOAD_RULES: tuple[Rule, ...] = (check_versions, check_library, check_instances)
_INIT_RULES: tuple[Rule, ...] = (
    check_tensors,
    check_batch_io,
    check_labels,
    check_metric_tags,
)
_START_RULES: tuple[Rule, ...] = (check_strategy, check_warmup, check_states)


@dataclass(slots=True)
class Examined:
    """A model, and what is wrong with it.

    Attributes:
        folder: the files on disk.
        parsed: the config as written; None if there is none, or none that can be read.
        case: the input of the rules; None if the config could not be read.
        problems: in the server's order.
        is_polled: whether the server would get as far as to load it.
        knows_tensors: whether inputs and outputs are known without the backend.
    """

    folder: ModelFolder
    parsed: ParsedConfig | None = None
    case: Case | None = None
    problems: list[Problem] = field(default_factory=list)
    is_polled: bool = False
    knows_tensors: bool = True

    def run(self, rules: Sequence[Rule]) -> None:
        """Add what some rules find."""
        assert self.case is not None  # rules run once the config is read
        for rule in rules:
            self.problems += rule(self.case)

    def add_first(self, problems: Sequence[Problem]) -> None:
        """Put problems before those that the server would meet later."""
        self.problems[:0] = problems

    @property
    def refusal(self) -> Problem | None:
        """Why the server would refuse the model, even once its plan is there."""
        errors = (p for p in self.problems if p.severity == ERROR)
        return next((p for p in errors if p.rule != WAITS), None)


def examine(path: Path, target: Target) -> Examined:
    """Check one model, as far as that needs no other."""
    folder = list_folder(path, config_name=target.config_name)
    examined = Examined(folder)
    if folder.failure:
        examined.problems.append(_unlisted(folder))
        return examined
    examined.problems += check_links(folder)
    if not _read(examined, target):
        return examined
    case = _completed(examined, target)
    if case is None:
        return examined
    _poll(examined)
    examined.is_polled = examined.refusal is None
    _load(examined)
    if folder.name.startswith(".") and examined.parsed is None:
        # .git, .cache: one word on it is enough.
        examined.problems = [p for p in examined.problems if p.severity == ERROR][:1]
    return examined


def _unlisted(folder: ModelFolder) -> Problem:
    return Problem(
        "F1",
        f"failed to open directory {folder.path}: {folder.failure}",
        message=f"the model's folder cannot be listed: {folder.failure}",
        hint="let the server's user read it (chmod -R a+rX)",
        file=folder.path,
    )


def _read(examined: Examined, target: Target) -> bool:
    """Read the config; False where the server would not get further."""
    path = examined.folder.config_path
    if path.name in examined.folder.subfolders and path.is_dir():
        examined.problems.append(
            Problem(
                "F2",
                message="config.pbtxt is a folder: the server aborts on it",
                hint="make it a file, or remove it",
                file=path,
            )
        )
        return False
    if not examined.folder.has_config and not target.strict:
        return True
    if path.exists() and not path.is_file():
        message = "config.pbtxt is no regular file: the server would wait for it"
        examined.problems.append(Problem("F4", message=message, file=path))
        return False
    failure = unreadable(path)
    if failure:
        hint = "let the server's user read it"
        if not examined.folder.has_config:
            hint = (
                "write one: the server completes none (--disable-auto-complete-config)"
            )
        examined.problems.append(Problem("F3", failure, hint=hint, file=path))
        return False
    return _parse(examined, path, target)


def _parse(examined: Examined, path: Path, target: Target) -> bool:
    try:
        text = read_bytes(path)
        examined.parsed = parse(text, path=path, absent=target.absent_fields)
    except ConfigSyntaxError as error:
        examined.problems.append(
            Problem(
                error.rule,
                error.server_text,
                message=error.reason,
                hint=error.hint,
                file=path,
                place=error.place,
            )
        )
        return False
    except SpecError as error:
        message = error.message.removeprefix(f"{path}: ")
        examined.problems.append(Problem("F3", message=message, file=path))
        return False
    return True


def _completed(examined: Examined, target: Target) -> Case | None:
    """Fill in what the server fills in; None where nothing tells the backend."""
    config = ModelConfig()
    if examined.parsed is not None:
        config.CopyFrom(examined.parsed.config)
    case = Case(examined.folder, examined.parsed, config, target)
    examined.problems += check_agents(case)
    if not complete_backend(config, examined.folder, target):
        examined.problems.append(backend_unknown(case))
        return None
    complete_defaults(config)
    examined.case = case
    return case


def _poll(examined: Examined) -> None:
    case = examined.case
    assert case is not None  # set by _completed
    examined.run(_POLL_RULES)
    if case.target.strict:
        examined.run((check_tensors, check_batch_io))
    examined.run((check_name,))


def _load(examined: Examined) -> None:
    case = examined.case
    assert case is not None  # set by _completed
    case.versions = served_versions(case)
    if not case.is_ensemble:
        complete_instances(case.config, case.target)
        examined.run(_LOAD_RULES)
        examined.problems += _unconfigured(examined, case)
        examined.knows_tensors = complete_tensors(case)
        init_rules = _INIT_RULES[2:] if case.target.strict else _INIT_RULES
        examined.run(init_rules)
        examined.run(_START_RULES)
        examined.run((check_artifacts, check_python_model, check_parameters))
    else:
        examined.run((check_versions, *_INIT_RULES))
    examined.run((check_habits, check_leftovers))


def _unconfigured(examined: Examined, case: Case) -> list[Problem]:
    """Without a config, the backend must know the model by itself."""
    if examined.parsed is not None:
        return []
    hint = f"the {case.config.backend} backend does not complete a config: write one"
    if case.completes:
        path = model_file(case, case.versions[0]) if case.versions else None
        if path is None or has_content(path):
            return []
        hint = f"{path.name} is not there or empty: the backend completes from it"
    text = f"model configuration is not provided for model '{case.name}'"
    return [Problem("R10", text, hint=hint)]
