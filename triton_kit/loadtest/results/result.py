"""What was measured, and its JSON form (schema in docs/perf-reference.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triton_kit.loadtest.record.histogram import RELATIVE_ERROR
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.results.table import plain

SCHEMA = "triton-kit.perf/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfResult:
    """A whole measurement: its runs, and what is needed to repeat it.

    The mappings hold JSON: the spec, the server, the model and this machine; `models`
    has every model, and `model` only the names where there are several.
    `objectives` has a row per run, of each objective's text, value and whether it is
    met. `meets_slo` is whether every run meets all of them, or any run in a search,
    which found `highest_load_met`, if anything. `is_failing` is whether a run is
    failing, or every run in a search; or whether a run ended before its time. A run
    that was interrupted counts for neither.
    """

    runs: tuple[Run, ...]
    spec: Mapping[str, Any]
    server: Mapping[str, Any]
    model: Mapping[str, Any]
    models: Sequence[Mapping[str, Any]]
    environment: Mapping[str, Any]
    was_interrupted: bool = False
    objectives: tuple[Sequence[Mapping[str, Any]], ...] = ()
    meets_slo: bool = True
    is_failing: bool = False
    highest_load_met: str | None = None

    def table(self, *, width: int | None = None) -> str:
        """Return the figures of each run as a table, with remarks below it."""
        return plain(self, width=width)

    def __repr__(self) -> str:
        runs = ", ".join(map(repr, self.runs))
        return f"PerfResult({self.model.get('name')!r}, {runs})"

    def as_json(self) -> dict[str, Any]:
        """Return the result as the documented JSON object."""
        return {
            "schema": SCHEMA,
            "clock": "CLOCK_MONOTONIC",
            "quantile_relative_error": RELATIVE_ERROR,
            "spec": dict(self.spec),
            "server": dict(self.server),
            "model": dict(self.model),
            "models": list(self.models),
            "environment": dict(self.environment),
            "was_interrupted": self.was_interrupted,
            "meets_slo": self.meets_slo,
            "highest_load_met": self.highest_load_met,
            "runs": [
                run.as_json() | {"slo": list(objectives)}
                for run, objectives in zip(self.runs, self.objectives, strict=True)
            ],
        }

    def as_text(self) -> str:
        """Return the JSON file."""
        return json.dumps(self.as_json(), indent=2) + "\n"
