"""Recorded traffic: the time of each request, and its data if that was recorded.

Two forms are read. A profile export (`--profile-export-file`, ours or perf_analyzer's)
has times only. JSON lines (`FILE.jsonl`) have an object for each request:
`{"at_ms": 12.5, "inputs": {...}}`, whose inputs are those of `--input-data` JSON.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.files import DATA_BYTES, read_bytes
from triton_kit.loadtest.inputs.documents import steps_from_document
from triton_kit.loadtest.inputs.steps import InputStep
from triton_kit.loadtest.loops.load import ScheduleLoad
from triton_kit.loadtest.net.clock import NS_PER_US
from triton_kit.tensors import Shape
from triton_kit.triton.model import ModelInfo

SUFFIX = ".jsonl"
_LINE = '{"at_ms": 12.5, "inputs": {"x": [1, 2]}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The load that a recording is, and whether the recording has data too."""

    load: ScheduleLoad
    has_inputs: bool = False


def read_trace(path: Path, *, speed: float = 1.0) -> Trace:
    """Read recorded traffic, to be sent `speed` times as fast as it came.

    Raises:
        SpecError: it cannot be read, or holds something else; the speed is impossible.
    """
    if not 0 < speed < math.inf:
        raise SpecError(f"replay speed {speed:g}: need more than 0")
    if path.suffix == SUFFIX:
        lines = _lines(path)
        has_inputs = "inputs" in lines[0]
        times_ns = [_ns(path, line["at_ms"], 1000 * NS_PER_US) for line in lines]
    else:
        has_inputs, times_ns = False, _profile_times(path)
    scaled = tuple(round((at - times_ns[0]) / speed) for at in times_ns)
    faster = "" if speed == 1 else f" at {speed:g}x"
    name = f"replay {path.name}{faster}"
    load = ScheduleLoad(times_ns=scaled, is_repeated=False, name=name)
    return Trace(load=load, has_inputs=has_inputs)


def steps_from_trace(
    path: Path, model: ModelInfo, shapes: Mapping[str, Shape]
) -> list[InputStep]:
    """Read the inputs of each request of a trace of JSON lines.

    Raises:
        SpecError: it is none, or its inputs do not fit the model.
    """
    document = {"data": [line.get("inputs", {}) for line in _lines(path)]}
    return steps_from_document(document, path, model, shapes)


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read and check JSON lines; `Any`: JSON of the user."""
    lines = []
    for number, text in enumerate(_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(
                f"{path}: line {number} is no JSON: {error}", hint=f"such as {_LINE}"
            ) from error
        if not isinstance(line, dict) or "at_ms" not in line:
            raise SpecError(f"{path}: line {number} has no at_ms", hint=_LINE)
        lines.append(line)
    if not lines:
        raise SpecError(f"{path}: no requests in it", hint=f"lines such as {_LINE}")
    if len({"inputs" in line for line in lines}) > 1:
        raise SpecError(f"{path}: some lines have inputs and others have none")
    if any(a["at_ms"] > b["at_ms"] for a, b in itertools.pairwise(_timed(path, lines))):
        raise SpecError(f"{path}: the times must ascend")
    return lines


def _timed(path: Path, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for line in lines:
        _ns(path, line["at_ms"], 1)
    return lines


def _profile_times(path: Path) -> list[int]:
    """Return when the requests of a profile were due, or sent if that is all it has."""
    try:
        document = json.loads(_text(path))
        experiments = document["experiments"]
        requests = [request for e in experiments for request in e["requests"]]
        key = "due" if all("due" in request for request in requests) else "timestamp"
        times = sorted(_ns(path, request[key], 1) for request in requests)
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f"{path}: not readable JSON: {error}",
            hint="perf_analyzer's own exports hold raw tensor bytes, which may be none",
        ) from error
    except (KeyError, TypeError) as error:
        raise SpecError(
            f"{path}: no profile export: nothing at {error}",
            hint=f"--profile-export-file writes them; else FILE.jsonl of {_LINE}",
        ) from error
    if len(experiments) != 1:
        raise SpecError(
            f"{path}: {len(experiments)} loads in it, and one can be replayed",
            hint="record a run with a single load",
        )
    if not times:
        raise SpecError(f"{path}: no requests in it")
    return times


def _ns(path: Path, value: Any, unit_ns: int) -> int:  # noqa: ANN401  JSON of the user
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise SpecError(f"{path}: {value!r} is no time: need a number, 0 or more")
    return (
        round(float(value) * unit_ns)
        if isinstance(value, float)
        else int(value) * unit_ns
    )


def _text(path: Path) -> str:
    try:
        return read_bytes(path, limit=DATA_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: not text: {error.reason} at byte {error.start}",
            hint="perf_analyzer's own exports hold raw tensor bytes, which may be none",
        ) from error
