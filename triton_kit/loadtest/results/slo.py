"""Service level objectives: `p99<20ms,errors<0.1%`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.loadtest.net.clock import NS_PER_US
from triton_kit.loadtest.results.run import Run

_TERM = re.compile(
    r"\s*(?P<what>p(?P<percentile>\d+(\.\d+)?)|mean|errors|throughput)\s*"
    r"(?P<sign>[<>]=?)\s*(?P<bound>\d+(\.\d+)?)\s*(?P<unit>us|ms|s|%|)\s*"
)
_US = {"us": 1.0, "ms": 1e3, "s": 1e6}
_HINT = "for example p99<20ms,errors<0.1%,throughput>500"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One bound that a run must keep.

    Attributes:
        text: as it was written.
        what: `latency`, `errors` (share of requests) or `throughput` (inferences/s).
        share: of the latency's quantile, 0 to 1; None is the mean.
        bound: microseconds, share or inferences per second.
        includes_bound: whether a value equal to the bound meets the objective.
    """

    text: str
    what: str
    share: float | None = None
    bound: float
    includes_bound: bool = False

    def value(self, run: Run) -> float:
        """Return the value of the run."""
        if self.what == "throughput":
            return run.throughput
        if self.what == "errors":
            requests = run.recording.total
            return run.errors / requests if requests else 1.0
        latency = run.recording.latency
        if not latency.count:
            return float("inf")
        value_ns = (
            latency.mean_ns if self.share is None else latency.quantile_ns(self.share)
        )
        return value_ns / NS_PER_US

    def is_met(self, run: Run) -> bool:
        """Whether the run keeps the bound."""
        value = self.value(run)
        if self.includes_bound and value == self.bound:
            return True
        return value > self.bound if self.what == "throughput" else value < self.bound


def latency_below(percentile: float, bound_ms: float) -> Objective:
    """Return the objective that a percentile of the latency is below a bound.

    Raises:
        SpecError: there is no such percentile, or the bound is none.
    """
    text = f"p{percentile:.10g}<{bound_ms:.15g}ms"
    if not 0 < percentile <= 100 or not 0 < bound_ms < float("inf"):
        raise SpecError(f"objective {text!r} makes no sense", hint=_HINT)
    return Objective(
        text=text, what="latency", share=percentile / 100, bound=bound_ms * _US["ms"]
    )


def parse_slo(text: str) -> tuple[Objective, ...]:
    """Read objectives, separated by commas.

    Raises:
        SpecError: one of them cannot be read.
    """
    return tuple(_objective(part) for part in text.split(","))


def _objective(text: str) -> Objective:
    match = _TERM.fullmatch(text)
    if match is None:
        raise SpecError(f"objective {text!r} cannot be read", hint=_HINT)
    what, sign, unit = match["what"], match["sign"], match["unit"]
    includes_bound = sign.endswith("=")
    bound = float(match["bound"])
    if what == "throughput" and (sign[0], unit) == (">", ""):
        return Objective(
            text=text.strip(), what=what, bound=bound, includes_bound=includes_bound
        )
    if what == "errors" and sign[0] == "<" and unit in ("%", ""):
        share = bound / 100 if unit else bound
        return Objective(
            text=text.strip(), what=what, bound=share, includes_bound=includes_bound
        )
    if what not in ("throughput", "errors") and sign[0] == "<" and not unit:
        raise SpecError(
            f"objective {text.strip()!r} has no unit", hint=f"{text.strip()}ms, us or s"
        )
    if what not in ("throughput", "errors") and sign[0] == "<" and unit in _US:
        percentile = match["percentile"]
        if percentile is not None and not 0 < float(percentile) <= 100:
            raise SpecError(f"objective {text!r}: no such percentile", hint=_HINT)
        return Objective(
            text=text.strip(),
            what="latency",
            share=None if percentile is None else float(percentile) / 100,
            bound=bound * _US[unit],
            includes_bound=includes_bound,
        )
    raise SpecError(f"objective {text!r} makes no sense", hint=_HINT)


def allowed_failed(objectives: tuple[Objective, ...]) -> float | None:
    """Return the share of failed requests that the objectives allow; None if unset."""
    bounds = [o.bound for o in objectives if o.what == "errors"]
    return min(bounds) if bounds else None


def missed(objectives: tuple[Objective, ...], run: Run) -> list[Objective]:
    """Return the objectives that a run does not meet."""
    return [objective for objective in objectives if not objective.is_met(run)]


def as_json(objectives: tuple[Objective, ...], run: Run) -> list[dict[str, Any]]:
    """Return how a run stands to each objective, as it stands in the JSON result."""
    return [
        {
            "objective": objective.text,
            "value": _finite(objective.value(run)),
            "is_met": objective.is_met(run),
        }
        for objective in objectives
    ]


def _finite(value: float) -> float | None:
    """Return a value that JSON has: None without a successful response."""
    return value if isfinite(value) else None
