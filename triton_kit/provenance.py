"""Where a version comes from: revision, tools, accuracy and load test, as JSON."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import SpecError
from triton_kit.files import read_json
from triton_kit.process import run_child

_GIT_WITHIN_S = 20.0
# A repository's own settings may name programs to run.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_REVISION = re.compile(r"[0-9a-f]{40,64}")
_GATE = ("max_abs_error", "accuracy", "precision")
_RUN = (
    *("load", "batch_size", "throughput", "requests", "errors", "latency_us"),
    "generation",
)


def provenance(
    source: Path, facts: Mapping[str, Any], carried: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the provenance of a version that is published.

    Args:
        source: the project or artifact.
        facts: of the version's manifest.
        carried: the provenance that it has already; it takes precedence.
    """
    found: dict[str, Any] = {
        "tools": {
            "triton_kit": version("triton_kit"),
            "python": platform.python_version(),
        }
    }
    if isinstance(facts.get("source"), dict):
        found["source"] = facts["source"]
    if (git := git_state(source)) is not None:
        found["git"] = git
    conversion = facts.get("conversion")
    if isinstance(conversion, dict):
        found["gate"] = {n: conversion[n] for n in _GATE if n in conversion}
    return found | dict(carried)


def git_state(path: Path) -> dict[str, Any] | None:
    """Return the revision that a file or folder is of, and whether it was changed.

    None where it is in no Git repository, or Git is not installed.
    """
    folder = (path if path.is_dir() else path.parent).absolute()
    inside = any((place / ".git").exists() for place in (folder, *folder.parents))
    if not inside or shutil.which("git") is None:
        return None
    head = _git(folder, "rev-parse", "HEAD")
    if head is None or not _REVISION.fullmatch(head):
        return None
    changes = _git(folder, "status", "--porcelain", "--", str(path.absolute()))
    return {"revision": head, "dirty": changes is None or bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    done = run_child([*_GIT, "-C", str(folder), *words], deadline_s=_GIT_WITHIN_S)
    return done.stdout.strip() if done.exit_code == 0 else None


def perf_summary(path: Path, model: str) -> dict[str, Any]:
    """Return the figures of a JSON result of `perf` that travel with a version.

    Raises:
        SpecError: it is no such result, or one of another model.
    """
    document = read_json(path)
    schema = document.get("schema", "") if isinstance(document, dict) else ""
    if not str(schema).startswith("triton-kit.perf/"):
        raise SpecError(
            f"{path}: not a result of perf",
            hint="triton-kit perf -m MODEL --json FILE writes one",
        )
    measured = document.get("model", {}).get("name")
    if measured != model:
        raise SpecError(f"{path}: measured model {measured!r}, not {model!r}")
    runs = [
        {name: run[name] for name in _RUN if name in run}
        for run in document.get("runs", [])
    ]
    if not runs:
        raise SpecError(f"{path}: the result has no run")
    return {"runs": runs}
