"""Is every model ready, and if one is not, why: in Triton's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.triton.model import IndexEntry

# A model whose config cannot be read is not in the index: only the log knows of it.
_POLL_FAILED = re.compile(r"Poll failed for model directory '([^']*)': (.*?)\"?$")
_STEP_FAILED = re.compile(r"ensemble '([^']*)' (depends on '[^']*' which .*?)\.")
_STEP_ABSENT = re.compile(r"ensemble (\S+) (contains models that are not .*?)\"?$")
_LOAD_FAILED = re.compile(r"failed to load model '([^']*)': (.*?)\"?$")
# Triton then waits for that process for ever and responds to no client: up to 24.10.
_STUB_FAILED = re.compile(r"Failed to preinitialize Python stub: (.*)$")
# What keeps the server as a whole from starting: it lives on, and is never ready.
_START_FAILED = re.compile(r"^E\S* .* tritonserver\.cc:\d+\] \"?(.*?)\"?$")
_LOADING = re.compile(r'"loading: ([^"]+):\d+"$')
_LOADED = re.compile(r"\"(?:successfully loaded|failed to load) '([^']+)'\"$")
_PARSE_ERROR = re.compile(r"^\[libprotobuf ERROR .*?\] .*?ModelConfig: (.*)$")
_FRAMES = re.compile(r"\s*At:\n(?:.|\n)*")
_FRAME = re.compile(r"^\s*(\S.*)\((\d+)\): (\S+)$", re.MULTILINE)


def models_in(repository: Path) -> tuple[str, ...]:
    """Return the names of the model folders in a repository, sorted.

    Every folder is a model to Triton, one whose name starts with a dot as well.

    Raises:
        RepositoryError: it is not there, is no folder, or has no model in it.
    """
    if not repository.exists():
        raise RepositoryError(
            f"no model repository at {repository}: it does not exist",
            hint="`triton-kit build` writes one",
        )
    if not repository.is_dir():
        raise RepositoryError(
            f"no model repository at {repository}: it is a file",
            hint="name the folder that holds one folder per model",
        )
    models = tuple(sorted(path.name for path in repository.iterdir() if path.is_dir()))
    if not models and repository.absolute().name.isdecimal():
        raise RepositoryError(
            f"no model in {repository}: it looks like one version of a model",
            hint=f"serve the folder two above, {repository.absolute().parents[1]}",
        )
    if not models:
        found = ", ".join(sorted(path.name for path in repository.iterdir())[:5])
        raise RepositoryError(
            f"no model in {repository}: looked for folders MODEL/VERSION/, "
            f"found {found or 'nothing'}",
            hint="see 'triton-kit new' for a project to start from",
        )
    if all(name.isdecimal() for name in models):
        raise RepositoryError(
            f"no model in {repository}: it holds versions ({', '.join(models[:5])})",
            hint=f"this looks like one model; serve the folder above, "
            f"{repository.absolute().parent}",
        )
    return models


def unready(
    wanted: Sequence[str], index: Iterable[IndexEntry]
) -> dict[str, IndexEntry | None]:
    """Return the wanted models without a ready version: entry, or None if unknown."""
    entries: dict[str, IndexEntry] = {}
    for entry in index:
        known = entries.get(entry.name)
        if known is None or entry.is_ready or (entry.reason and not known.is_ready):
            entries[entry.name] = entry
    found = {name: entries.get(name) for name in wanted}
    return {n: entry for n, entry in found.items() if not (entry and entry.is_ready)}


def reasons_in_log(log: Path) -> dict[str, str]:
    """Return, by model, the refusals that Triton writes to its log alone."""
    reasons: dict[str, str] = {}
    syntax: list[str] = []
    for line in _lines(log):
        if match := _PARSE_ERROR.search(line):
            syntax.append(match[1].rstrip('"'))
        elif match := _refusal(line):
            model, reason = match[1], match[2]
            reasons.setdefault(model, "; ".join([reason, *syntax]))
            syntax = []
    return {model: tidy(reason) for model, reason in reasons.items()}


def _refusal(line: str) -> re.Match[str] | None:
    patterns = (_POLL_FAILED, _STEP_FAILED, _STEP_ABSENT, _LOAD_FAILED)
    return next((m for p in patterns if (m := p.search(line))), None)


def hung_model(log: Path, models: Sequence[str]) -> tuple[str, str] | None:
    """Return model and reason where the start hangs on a model that cannot load."""
    for line in _lines(log):
        if match := _STUB_FAILED.search(line):
            reason = match[1]
            named = [model for model in models if f"/{model}/" in reason]
            return (max(named, key=len) if named else "?"), reason
    return None


def start_failure(log: Path) -> str | None:
    """Return why the server as a whole did not start, whatever its models."""
    found = (m[1] for line in _lines(log) if (m := _START_FAILED.search(line)))
    return next(found, None)


def still_loading(log: Path) -> tuple[str, ...]:
    """Return the models that Triton began to load and has not finished."""
    loading: dict[str, None] = {}
    for line in _lines(log):
        if match := _LOADING.search(line):
            loading[match[1]] = None
        elif match := _LOADED.search(line):
            loading.pop(match[1], None)
    return tuple(loading)


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def tidy(reason: str) -> str:
    """Shorten a reason: of a Python traceback, the error and the place it came from."""
    text = reason.replace("\\n", "\n").strip()
    frame = (
        _FRAME.search(text[match.start() :])
        if (match := _FRAMES.search(text))
        else None
    )
    text = " ".join(_FRAMES.sub("", text).split())
    text = text.removeprefix("Internal: TritonModelException: ")
    if frame and "/backends-" not in frame[1] and not frame[1].startswith("<"):
        text += f" ({frame[1]}:{frame[2]})"
    return text
