"""The file of trials: a line for each, on the disk before the next one begins."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import SpecError
from triton_kit.tuning.evidence import Ask
from triton_kit.tuning.trial import TuneTrial

SCHEMA = "triton-kit.tune-trials/1"
FILE_NAME = "trials.jsonl"


class Checkpoint:
    """Trials of a search, those of an interrupted run first.

    Attributes:
        originals: the configurations that the first run found, by model.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path = path
        self._header = header
        self._earlier: list[Mapping[str, Any]] = []
        self.originals: Mapping[str, Any] = header["originals"]

    @classmethod
    def begin(cls, path: Path, header: Mapping[str, Any]) -> Checkpoint:
        """Start a file; `header` has `inputs` and `originals`.

        Raises:
            SpecError: an earlier run has left its trials there.
        """
        has_trials = path.is_file() and path.read_bytes().count(b"\n") > 1
        if has_trials:
            raise SpecError(
                f"{path} has the trials of an earlier run",
                hint="go on with it: --resume; or write elsewhere: -o DIR",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a run that ended before its first trial
        checkpoint = cls(path, header)
        checkpoint._append({"schema": SCHEMA, **header})
        return checkpoint

    @classmethod
    def resume(cls, path: Path, inputs: Mapping[str, Any]) -> Checkpoint:
        """Go on with a file.

        Raises:
            SpecError: there is none, of another version, or its run had other inputs.
        """
        if not path.is_file():
            raise SpecError(
                f"{path}: there is no earlier run to go on with",
                hint="leave out --resume",
            )
        lines = path.read_bytes().split(b"\n")
        # A killed run may have left the beginning of a line.
        whole, torn = lines[:-1], lines[-1]
        try:
            header, *trials = [json.loads(line) for line in whole]
            schema = header.get("schema")
        except (ValueError, AttributeError):
            raise SpecError(
                f"{path} is no file of trials", hint="write elsewhere: -o DIR"
            ) from None
        if schema != SCHEMA:
            raise SpecError(
                f"{path} has the schema {schema!r}, not {SCHEMA!r}",
                hint="another version of triton-kit wrote it; start anew: -o DIR",
            )
        _require_same(path, header["inputs"], inputs)
        if torn:
            with path.open("rb+") as file:
                file.truncate(path.stat().st_size - len(torn))
        checkpoint = cls(path, header)
        checkpoint._earlier = trials
        return checkpoint

    @property
    def earlier(self) -> int:
        """How many trials of an earlier run are left to be taken."""
        return len(self._earlier)

    def take(self, asks: Sequence[Ask]) -> list[TuneTrial | None]:
        """Return what an earlier run found of some trials, as far as it got.

        Trials that were handed out together have their lines in the order of their
        ends, before those of any later one.

        Raises:
            SpecError: it measured something else at this place.
        """
        count = len(asks)
        lines, self._earlier = self._earlier[:count], self._earlier[count:]
        found: list[TuneTrial | None] = [None] * count
        wanted = list(map(_ask_as_json, asks))
        for line in lines:
            if line["ask"] not in wanted:
                raise SpecError(
                    f"{self._path}: the earlier run tried other settings at this place",
                    hint="another version of triton-kit wrote it; start anew: -o DIR",
                )
            index = wanted.index(line["ask"])
            wanted[index] = {}
            found[index] = TuneTrial.from_json(line["trial"])
        return found

    def add(self, ask: Ask, trial: TuneTrial) -> None:
        """Write a trial, and wait until it is on the disk."""
        self._append({"ask": _ask_as_json(ask), "trial": trial.as_json()})

    def _append(self, content: Mapping[str, Any]) -> None:
        data = f"{json.dumps(content)}\n".encode()
        with self._path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _ask_as_json(ask: Ask) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(asdict(ask)))
    return found


def _require_same(
    path: Path, earlier: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    now = json.loads(json.dumps(now))
    for name, value in now.items():
        if earlier.get(name) != value:
            raise SpecError(
                f"{path}: the earlier run had {name} {earlier.get(name)!r}, not "
                f"{value!r}",
                hint="resume with the same inputs, or start anew: -o DIR",
            )
