"""A Python model's files: model.py is parsed and never run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path

from triton_kit.repository.check.findings import ERROR, WARNING
from triton_kit.repository.check.rules.case import Case, Problem, Problems, model_file

_CLASS = "TritonPythonModel"
_ENVIRONMENT = "EXECUTION_ENV_PATH"
_MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"
_READ_BYTES = 16 << 20


def check_python_model(case: Case) -> Problems:
    """Y1 to Y4."""
    if case.config.backend != "python" or case.config.runtime:
        return
    for version in case.versions:
        path = model_file(case, version)
        if not path.is_file():
            yield Problem(
                "Y1",
                message=f"version {version} has no {path.name}: the server waits for "
                "it without end and serves nothing",
                hint=f"put {path.name} into {path.parent}",
                file=path.parent,
            )
        else:
            yield from _source(path)
    yield from _environment(case)


def _source(path: Path) -> Iterator[Problem]:
    try:
        if path.stat().st_size > _READ_BYTES:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        message = f"{path.name} cannot be read: {error.strerror}"
        yield Problem("M1", message=message, file=path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        yield Problem(
            "Y2", message=f"{path.name} is not Python{line}: {reason}", file=path
        )
    else:
        if not _binds(tree.body, _CLASS):
            yield Problem(
                "Y3",
                message=f"{path.name} defines no class {_CLASS}",
                hint=f"write class {_CLASS} with execute(self, requests)",
                file=path,
            )


def _binds(body: list[ast.stmt], name: str) -> bool:
    """Whether statements of a module may give a name a value."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return True
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            if names & {name, "*"}:
                return True
        elif not isinstance(node, ast.ClassDef | ast.FunctionDef):
            assigned = (
                inner.id
                for inner in ast.walk(node)
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            )
            nested = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)]
            handlers = getattr(node, "handlers", [])
            nested += [n for handler in handlers for n in handler.body]
            if name in assigned or _binds(nested, name):
                return True
    return False


def _environment(case: Case) -> Iterator[Problem]:
    """Y4: the packed environment of a model is there."""
    if _ENVIRONMENT not in case.config.parameters:
        return
    value = case.config.parameters[_ENVIRONMENT].string_value
    at = ("parameters", _ENVIRONMENT)
    if _MODEL_DIRECTORY in value:
        path = Path(value.replace(_MODEL_DIRECTORY, str(case.folder.path)))
        if not path.exists():
            yield Problem(
                "Y4",
                at=at,
                message=f"{_ENVIRONMENT} names {value}: {path.name} is not there",
                hint="put the packed environment (conda-pack) into the model's folder",
            )
    elif "TRITON_MODEL_DIRECTORY" in value:
        yield Problem(
            "Y4",
            at=at,
            message=f"{value!r} is not replaced: the variable needs two dollar signs",
            hint=f"write {_MODEL_DIRECTORY}/...",
        )
    elif not Path(value).exists():
        is_absolute = Path(value).is_absolute()
        yield Problem(
            "Y4",
            at=at,
            message=f"{_ENVIRONMENT} names {value or 'nothing'}, which is not on this "
            "machine",
            hint="a path of the server's machine; better: put the file into the "
            f"model's folder and write {_MODEL_DIRECTORY}/...",
            severity=WARNING if is_absolute else ERROR,
        )
