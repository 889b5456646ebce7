"""`--require`: a version whose load test misses an objective is not published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # JSON

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.loadtest.results.slo import Objective, parse_slo

# By what an objective is of: where a run of the JSON result has those times.
_TOKEN_TIMES = {
    "ttft": "time_to_first_token_us",
    "itl": "inter_token_latency_us",
    "icl": "inter_chunk_latency_us",
}
_TOKEN_RATES = {"tokens": "output_tokens_per_s", "goodput": "goodput"}
_NO_OBJECTIVE = ("deviation", "min", "max")


def require(perf: Mapping[str, Any] | None, text: str, *, what: str) -> list[str]:
    """Hold the perf result of a version against objectives; return what it has.

    Args:
        perf: the summary that travels with it.
        text: objectives such as `p99<20ms,errors<0.1%` or `ttft_p95<300ms`.
        what: the version, for messages.

    Raises:
        SpecError: an objective cannot be read.
        RepositoryError: there is no result, it lacks a figure, or a run misses an
            objective.
    """
    runs = [figures_of(run) for run in (perf or {}).get("runs") or ()]
    try:
        objectives = parse_slo(text)
    except SpecError as error:
        known = f"; its perf result has {', '.join(runs[0])}" if runs else ""
        raise SpecError(error.message, hint=f"{error.hint}{known}") from error
    if not runs:
        raise RepositoryError(
            f"{what}: no perf result travels with it, and {text} is required",
            hint="triton-kit perf -m MODEL --json perf.json, then --perf perf.json",
        )
    found = []
    for figures in runs:
        for objective in objectives:
            value = _value(figures, objective, what)
            if not objective.allows(value):
                raise RepositoryError(
                    f"{what}: {objective.text} is required, and its perf result has "
                    f"{_spoken(objective, value)}",
                    hint="triton-kit tune finds faster settings",
                )
            found.append(f"{objective.text}: {_spoken(objective, value)}")
    return found


def figures_of(run: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a run by their names in objectives.

    Times are in microseconds, rates per second, errors a share.
    """
    figures = _times("", run.get("latency_us"))
    tokens = run.get("generation") or {}
    for name, key in _TOKEN_TIMES.items():
        figures |= _times(f"{name}_", tokens.get(key))
    figures["errors"] = float(run.get("errors") or 0) / max(1, run.get("requests") or 0)
    rates = {name: tokens.get(key) for name, key in _TOKEN_RATES.items()}
    rates["throughput"] = run.get("throughput")
    return figures | {n: float(rate) for n, rate in rates.items() if rate is not None}


def _times(prefix: str, times: Mapping[str, Any] | None) -> dict[str, float]:
    return {
        prefix + name: float(value)
        for name, value in (times or {}).items()
        if name not in _NO_OBJECTIVE
    }


def _value(figures: Mapping[str, float], objective: Objective, what: str) -> float:
    name = objective.what
    if name in ("latency", *_TOKEN_TIMES):
        share = objective.share
        figure = "mean" if share is None else f"p{share * 100:.10g}"
        name = figure if name == "latency" else f"{name}_{figure}"
    if name not in figures:
        raise RepositoryError(
            f"{what}: {objective.text} is required, and its perf result does not have "
            "that figure",
            hint=f"it has {', '.join(figures)}",
        )
    return figures[name]


def _spoken(objective: Objective, value: float) -> str:
    if objective.what == "errors":
        return f"{value:.3%}"
    return f"{value:.1f}/s" if objective.is_rate else f"{value / 1000:.3g} ms"
