"""Files and folders of results become typed views, whatever schema each has."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from triton_kit.comparison.result_file import SCHEMA as PERF
from triton_kit.errors import SpecError
from triton_kit.files import read_text
from triton_kit.report.views import ConvertView, PerfView, TuneView

_log = logging.getLogger(__name__)
TUNE = "triton-kit.tune/1"
MANIFEST = "manifest of a conversion"
_FILE_BYTES = 256 << 20
_KNOWN = f"known: {PERF} (perf --json), {TUNE} (tune), manifest.json (convert)"
View = PerfView | TuneView | ConvertView
# A folder of tune has its trials in other files too; this one has them all.
_FOLDER_NAMES = ("result.json", "manifest.json")
_MOST_FILES = 10_000
_OWN_SCHEMAS = "triton-kit."


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One result.

    Attributes:
        name: what the report calls it; no two sources of a report share one.
        path: the file.
        view: what it holds.
    """

    name: str
    path: Path
    view: View


def read_results(paths: Iterable[Path]) -> tuple[Source, ...]:
    """Read results from files, and from folders of them.

    Raises:
        SpecError: one of them is no result, or a folder has none.
    """
    files: dict[Path, View] = {}
    for path in paths:
        if path.is_dir():
            files |= _folder(path)
        else:
            files[path] = read_view(path)
    names = _names(tuple(files))
    return tuple(
        Source(name=name, path=path, view=view)
        for name, (path, view) in zip(names, files.items(), strict=True)
    )


def read_view(path: Path) -> View:
    """Read one result.

    Raises:
        SpecError: it is something else.
    """
    content = _parse(path)
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema == PERF:
        return _validated(PerfView, content, path)
    if schema == TUNE:
        return _validated(TuneView, content, path)
    if isinstance(content, dict) and _is_manifest(content):
        return _validated(ConvertView, content, path)
    found = f"its schema is {schema!r}" if schema is not None else "it names no schema"
    is_ours = isinstance(schema, str) and schema.startswith(_OWN_SCHEMAS)
    kind = SpecError if is_ours else _OtherFileError
    raise kind(f"{path}: no result that can be shown: {found}", hint=_KNOWN)


class _OtherFileError(SpecError):
    """A file of JSON of another program."""


def _is_manifest(content: dict[str, Any]) -> bool:
    return content.get("schema") == 1 and isinstance(content.get("files"), dict)


def _parse(path: Path) -> Any:  # noqa: ANN401  JSON
    text = read_text(path, limit=_FILE_BYTES)
    if not text.strip():
        raise SpecError(f"{path}: the file is empty", hint="measure again")
    try:
        return json.loads(text)
    except RecursionError:
        raise SpecError(f"{path}: not JSON: its values are nested too deep") from None
    except json.JSONDecodeError as error:
        is_cut = error.pos >= len(text.rstrip())
        hint = "the file ends too early: was it written to its end?" if is_cut else None
        raise SpecError(
            f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}", hint=hint
        ) from error


def _validated(kind: type[View], content: object, path: Path) -> View:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(
            f"{path}: {place}: {first['msg'].lower()}",
            hint="the file was changed, or another version wrote it",
        ) from error


def _folder(folder: Path) -> dict[Path, View]:
    """Return the results of a folder: its own, else those of its files and folders.

    A file of JSON that is no result is left out, unless there is nothing else; of a
    result that cannot be read, a warning says so.
    """
    for name in _FOLDER_NAMES:
        if (folder / name).is_file():
            return {folder / name: read_view(folder / name)}
    found, why = {}, ""
    candidates = sorted({*folder.glob("*.json"), *_below(folder)})
    for path in candidates[:_MOST_FILES]:
        try:
            found[path] = read_view(path)
        except SpecError as error:
            why = why or error.message
            if not isinstance(error, _OtherFileError):
                _log.warning("%s; the report leaves it out", error.message)
    if not found:
        raise SpecError(
            f"{folder}: no result in this folder{f'; {why}' if why else ''}",
            hint=_KNOWN,
        )
    return found


def _below(folder: Path) -> list[Path]:
    return [path for name in _FOLDER_NAMES for path in folder.rglob(name)]


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each file: its own, with as many folders as it takes."""
    names = [_short(path) for path in paths]
    if len(set(names)) == len(names):
        return names
    longer = ["/".join(path.parts[-3:]).removesuffix(".json") for path in paths]
    return longer if len(set(longer)) == len(longer) else [str(path) for path in paths]


def _short(path: Path) -> str:
    """A folder's name says more than that of its `result.json`."""
    return path.resolve().parent.name if path.name in _FOLDER_NAMES else path.stem
