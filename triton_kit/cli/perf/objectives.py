"""Objectives of the runs, and the search for the highest load that meets them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any  # the fields of a PerfSpec

import click

from triton_kit.cli.perf.group import option
from triton_kit.errors import SpecError

_THRESHOLD_PERCENTILE = 95.0

SLO = option(
    "--slo",
    metavar="BOUNDS",
    help="Objectives such as 'p99<20ms,errors<0.1%'.",
)
OPTIONS = (
    option(
        "--baseline",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Compare with this JSON result, as `triton-kit compare` does.",
    ),
    option(
        "--fail-if",
        metavar="FIGURE>+N%,...",
        help="With --baseline: changes to fail at, such as p99>+5%,throughput<-3%.",
    ),
    option(
        "-l",
        "--latency-threshold",
        "threshold_ms",
        type=float,
        metavar="MS",
        help="Stop at the first load whose p95 (or --percentile) exceeds this many "
        "milliseconds.",
    ),
    option(
        "--binary-search",
        is_flag=True,
        help="Binary-search for the highest load that meets every objective.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveOptions:
    """Bounds that every run must keep."""

    slo: str | None
    threshold_ms: float | None
    binary_search: bool
    percentile: float | None

    @property
    def has_threshold(self) -> bool:
        """Whether -l is given; 0 is perf_analyzer's word for none."""
        return bool(self.threshold_ms)

    def fields(self, *, is_endless: bool) -> dict[str, Any]:
        """Return the fields of a PerfSpec.

        Args:
            is_endless: whether the loads go on until one misses an objective.

        Raises:
            SpecError: an objective cannot be read, or a search has no end.
        """
        from triton_kit.loadtest.results.slo import latency_below, parse_slo

        objectives = parse_slo(self.slo) if self.slo else ()
        if self.threshold_ms:
            given = self.percentile
            percentile = _THRESHOLD_PERCENTILE if given in (None, -1) else given
            objectives += (latency_below(percentile, self.threshold_ms),)
        if self.binary_search and is_endless:
            raise SpecError(
                "a binary search needs an END, and 0 is none",
                hint="set END, or leave --binary-search out",
            )
        until_missed = self.has_threshold or is_endless
        search = "until-missed" if until_missed else "every"
        return {
            "slo": objectives,
            "search": "binary" if self.binary_search else search,
        }
