"""Service level objectives: `p99<20ms,errors<0.1%`, `ttft_p95<300ms,itl_p95<50ms`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.loadtest.net.clock import NS_PER_US
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.results.generation import ICL, ITL, LATENCY, TTFT
from triton_kit.loadtest.results.run import Run

_TERM = re.compile(
    r"\s*(?P<what>((?P<of>ttft|itl|icl|latency)_)?(p(?P<percentile>\d+(\.\d+)?)|mean)"
    r"|errors|throughput|tokens|goodput)\s*"
    r"(?P<sign>[<>]=?)\s*(?P<bound>\d+(\.\d+)?)\s*(?P<unit>us|ms|s|%|)\s*"
)
_US = {"us": 1.0, "ms": 1e3, "s": 1e6}
_HINT = "for example p99<20ms,errors<0.1%,throughput>500,ttft_p95<300ms"
# Objectives that are met above their bound.
RATES = ("throughput", "tokens", "goodput")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One bound that a run must keep.

    Attributes:
        text: as it was written.
        what: `latency`; `ttft`, `itl` or `icl` of a language model's tokens; `errors`
            (share of requests); `throughput` (inferences/s), `tokens` (output tokens/s)
            or `goodput` (requests/s that keep every bound of a latency).
        share: of the latency's quantile, 0 to 1; None is the mean.
        bound: microseconds, share or number per second.
        includes_bound: whether a value equal to the bound meets the objective.
    """

    text: str
    what: str
    share: float | None = None
    bound: float
    includes_bound: bool = False

    @property
    def needs_tokens(self) -> bool:
        """Whether only a load on a language model has this value."""
        return self.what in (TTFT, ITL, ICL, "tokens", "goodput")

    @property
    def is_rate(self) -> bool:
        """Whether the value must be above the bound."""
        return self.what in RATES

    def value(self, run: Run) -> float:
        """Return the value of the run; without a successful response it is infinite."""
        if self.what == "throughput":
            return run.throughput
        if self.what == "errors":
            requests = run.recording.total
            return run.errors / requests if requests else 1.0
        if self.is_rate:
            return self._rate(run)
        histogram = self._histogram(run)
        if not histogram.count:
            return float("inf")
        value_ns = (
            histogram.mean_ns
            if self.share is None
            else histogram.quantile_ns(self.share)
        )
        return value_ns / NS_PER_US

    def _rate(self, run: Run) -> float:
        generation = run.generation
        if generation is None:
            return 0.0
        rate = generation.good_per_s if self.what == "goodput" else None
        return generation.tokens_per_s if self.what == "tokens" else rate or 0.0

    def _histogram(self, run: Run) -> Histogram:
        generation = run.generation
        if self.what == LATENCY or generation is None:
            return run.recording.latency
        return {TTFT: generation.ttft, ITL: generation.itl, ICL: generation.icl}[
            self.what
        ]

    def is_met(self, run: Run) -> bool:
        """Whether the run keeps the bound."""
        return self.allows(self.value(run))

    def allows(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        if self.includes_bound and value == self.bound:
            return True
        return value > self.bound if self.is_rate else value < self.bound


def request_bounds_ns(objectives: Sequence[Objective]) -> dict[str, float]:
    """Return what a good request keeps: the bounds of its latency, TTFT and ITL."""
    bounds: dict[str, float] = {}
    for objective in objectives:
        if objective.what in (LATENCY, TTFT, ITL):
            bound_ns = objective.bound * NS_PER_US
            bounds[objective.what] = min(
                bound_ns, bounds.get(objective.what, float("inf"))
            )
    return bounds


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
    objectives = tuple(_objective(part) for part in text.split(","))
    goodput = next((o for o in objectives if o.what == "goodput"), None)
    if goodput is not None and not request_bounds_ns(objectives):
        raise SpecError(
            f"objective {goodput.text!r} does not say what a good request is",
            hint=f"for example ttft_p95<300ms,itl_p95<50ms,{goodput.text}",
        )
    return objectives


def _objective(text: str) -> Objective:
    match = _TERM.fullmatch(text)
    if match is None:
        raise SpecError(f"objective {text!r} cannot be read", hint=_HINT)
    what, sign, unit = match["what"], match["sign"], match["unit"]
    text, bound = text.strip(), float(match["bound"])
    share: float | None = None
    is_time = what not in (*RATES, "errors")
    if is_time and sign[0] == "<" and not unit:
        raise SpecError(f"objective {text!r} has no unit", hint=f"{text}ms, us or s")
    units: Sequence[str] = tuple(_US) if is_time else ("",)
    if what == "errors":
        units = ("%", "")
        bound = bound / 100 if unit else bound
    if unit not in units or sign[0] != (">" if what in RATES else "<"):
        raise SpecError(f"objective {text!r} makes no sense", hint=_HINT)
    if is_time:
        bound *= _US[unit]
        percentile = match["percentile"]
        if percentile is not None and not 0 < float(percentile) <= 100:
            raise SpecError(f"objective {text!r}: no such percentile", hint=_HINT)
        share = None if percentile is None else float(percentile) / 100
    return Objective(
        text=text,
        what=(match["of"] or LATENCY) if is_time else what,
        share=share,
        bound=bound,
        includes_bound=sign.endswith("="),
    )


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
