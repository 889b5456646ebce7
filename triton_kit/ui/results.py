"""Files that perf and tune wrote, as the pages list them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any  # JSON has no type of its own

from triton_kit.comparison.result_file import SCHEMA as PERF
from triton_kit.comparison.result_file import ResultFile, result_from_json
from triton_kit.errors import TritonKitError
from triton_kit.files import read_json

TUNE = "triton-kit.tune/1"
_OWN = "triton-kit."
_DEPTH, _MOST = 4, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One file of results.

    Attributes:
        key: names it in addresses; never a path.
        kind: `perf`, `tune`, or the schema of another file.
        problem: why it cannot be read.
        perf: the loads of perf.
        tune: the document of tune.
    """

    key: str
    path: Path
    kind: str
    model: str = ""
    version: str = ""
    when: str = ""
    summary: str = ""
    problem: str = ""
    perf: ResultFile | None = None
    tune: Mapping[str, Any] | None = None


def read_results(path: Path) -> list[Result]:
    """Return the results in a folder, or of one file, newest first.

    Other JSON files in a folder are left out; a file that was named is explained.
    """
    if path.is_file():
        return [_read(path, is_named=True) or _unknown(path, "is no result")]
    found = [_read(file, is_named=False) for file in _json_files(path)]
    return sorted(
        (result for result in found if result is not None),
        key=lambda result: (result.when, str(result.path)),
        reverse=True,
    )


def _json_files(root: Path) -> Iterator[Path]:
    count = 0
    for folder, folders, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        hidden = [name for name in folders if name.startswith(".")]
        for name in folders.copy() if depth + 1 >= _DEPTH else hidden:
            folders.remove(name)
        for name in sorted(names):
            if name.endswith(".json") and name != "manifest.json":
                count += 1
                if count > _MOST:
                    return
                yield Path(folder, name)


def _read(path: Path, *, is_named: bool) -> Result | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None  # a pipe could stay silent
    return _read_once(path, facts.st_mtime_ns, facts.st_size, is_named)


@lru_cache(maxsize=_MOST)
def _read_once(
    path: Path, _changed_ns: int, _size: int, is_named: bool
) -> Result | None:
    """Read a file, again only after it changed."""
    try:
        content = read_json(path)
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema == PERF:
            return _perf(path, content)
        if schema == TUNE:
            return _tune(path, content)
    except TritonKitError as error:
        return _unknown(path, str(error))
    if isinstance(schema, str) and schema.startswith(_OWN):
        return _unknown(path, f"has the schema {schema!r}, not {PERF!r}", kind=schema)
    return _unknown(path, "names no schema of triton-kit") if is_named else None


def _perf(path: Path, content: Mapping[str, Any]) -> Result:
    result = result_from_json(content, path)
    best = max(result.runs, key=lambda run: run.throughput, default=None)
    summary = "no load finished"
    if best is not None and not best.throughput:
        summary = "no request succeeded"
    elif best is not None:
        p99 = best.latency_us.get("p99")
        shown = "" if p99 is None else f", p99 {p99 / 1000:.2f} ms"
        summary = f"{best.throughput:,.1f}/s{shown} ({best.name})"
    environment = content.get("environment")
    return Result(
        key=_key(path),
        path=path,
        kind="perf",
        model=str(result.model.get("model") or ""),
        version=str(content["model"].get("version") or ""),
        when=str((environment or {}).get("measured_at") or "")[:19].replace("T", " "),
        summary=summary,
        perf=result,
    )


def _tune(path: Path, content: Mapping[str, Any]) -> Result:
    return Result(
        key=_key(path),
        path=path,
        kind="tune",
        model=str(content.get("model") or ""),
        summary=str(content.get("verdict") or content.get("outcome") or ""),
        tune=content,
    )


def _unknown(path: Path, problem: str, *, kind: str = "unknown") -> Result:
    return Result(key=_key(path), path=path, kind=kind, problem=problem)


def _key(path: Path) -> str:
    name = os.fsencode(path.resolve())
    return hashlib.sha256(name).hexdigest()[:16]
