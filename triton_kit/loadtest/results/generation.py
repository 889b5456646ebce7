"""Figures of a load on a language model: tokens, times between them, goodput."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # JSON

import numpy as np
from numpy.typing import NDArray

from triton_kit.loadtest.net.clock import NS_PER_S
from triton_kit.loadtest.record.generations import COLUMNS, UNKNOWN
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.results.figures import quantiles_us

# What a latency objective is of, and of which request-level times it is a bound.
TTFT, ITL, ICL, LATENCY = "ttft", "itl", "icl", "latency"

Times = NDArray[np.int64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFigures:
    """What was measured of generations.

    Attributes:
        ttft: time to first token, from the due time.
        itl: mean time between two tokens of a request, after the first.
        icl: time between two chunks.
        output_tokens: of each request, int64 of shape (n,).
        input_tokens: the same; empty where the server reports none.
        tokens_per_s: output tokens of all requests per second.
        tokens_per_s_of_request: output tokens of a request by its latency, float64 of
            shape (n,).
        counted_by: `usage`, `tokenizer` or `chunks`, or several of them.
        good_per_s: requests per second that meet the bounds of all latency objectives;
            None without any.
        good_share: of the successful requests.
        cancelled: requests that the client cancelled.
    """

    ttft: Histogram
    itl: Histogram
    icl: Histogram
    output_tokens: NDArray[np.int64]
    input_tokens: NDArray[np.int64]
    tokens_per_s: float
    tokens_per_s_of_request: NDArray[np.float64]
    counted_by: Sequence[str]
    good_per_s: float | None
    good_share: float | None
    cancelled: int

    def as_json(self) -> dict[str, Any]:
        """Return the figures as they stand in the JSON result."""
        return {
            "time_to_first_token_us": quantiles_us(self.ttft),
            "inter_token_latency_us": quantiles_us(self.itl),
            "inter_chunk_latency_us": quantiles_us(self.icl),
            "output_tokens": _spread(self.output_tokens),
            "input_tokens": _spread(self.input_tokens),
            "output_tokens_per_s": self.tokens_per_s,
            "output_tokens_per_s_of_request": _spread(self.tokens_per_s_of_request),
            "tokens_counted_by": list(self.counted_by),
            "goodput": self.good_per_s,
            "good_share": self.good_share,
            "cancelled": self.cancelled,
        }


def generation_figures(
    windows: Sequence[Recording],
    whole: Recording,
    window_s: float,
    bounds_ns: Mapping[str, float],
    *,
    has_tokenizer: bool,
) -> GenerationFigures:
    """Return the figures of a run.

    Args:
        windows: what was recorded in the measured time.
        whole: the same, and responses after it.
        window_s: how long was measured.
        bounds_ns: what a good request keeps, by TTFT, ITL or LATENCY.
        has_tokenizer: whether tokens without usage were counted by a tokenizer.
    """
    rows = whole.generations.rows()
    tokens = _tokens(rows)
    first = _column(rows, "first_ns")
    due, chunks = _column(rows, "due_ns"), _column(rows, "chunks")
    latency_s = np.maximum(_column(rows, "end_ns") - due, 1) / NS_PER_S
    ttft, itl = Histogram(), Histogram()
    ttft.add((first - due)[chunks > 0])
    itl.add(_itl(rows, tokens)[tokens > 1])
    prompt = _column(rows, "prompt_tokens")
    # Chunks count when they arrive, requests only when they end.
    tokens_per_chunk = tokens.sum() / chunks.sum() if chunks.sum() else 0.0
    arrived = sum(window.responses for window in windows) * tokens_per_chunk
    good = np.concatenate(
        [_good(window.generations.rows(), bounds_ns) for window in windows]
        or [np.zeros(0, np.bool_)]
    )
    good_per_s = float(good.sum()) / window_s if window_s else 0.0
    all_good = _good(rows, bounds_ns)
    return GenerationFigures(
        ttft=ttft,
        itl=itl,
        icl=whole.between,
        output_tokens=tokens,
        input_tokens=prompt[prompt != UNKNOWN],
        tokens_per_s=float(arrived) / window_s if window_s else 0.0,
        tokens_per_s_of_request=tokens / latency_s,
        counted_by=_counted_by(rows, has_tokenizer=has_tokenizer),
        good_per_s=good_per_s if bounds_ns else None,
        good_share=float(all_good.mean()) if bounds_ns and len(rows) else None,
        cancelled=whole.cancelled,
    )


def _column(rows: Rows, name: str) -> Times:
    column: Times = rows[:, COLUMNS.index(name)]
    return column


def _tokens(rows: Rows) -> NDArray[np.int64]:
    """Return the output tokens of each request: chunks, where nothing counted them."""
    counted = _column(rows, "completion_tokens")
    return np.where(counted == UNKNOWN, _column(rows, "chunks"), counted)


def _itl(rows: Rows, tokens: NDArray[np.int64]) -> Times:
    """Return the mean time between two tokens; 0 for less than two."""
    spent = _column(rows, "last_ns") - _column(rows, "first_ns")
    means: Times = np.rint(spent / np.maximum(tokens - 1, 1)).astype(np.int64)
    return means


def _good(rows: Rows, bounds_ns: Mapping[str, float]) -> NDArray[np.bool_]:
    due, tokens = _column(rows, "due_ns"), _tokens(rows)
    times = {
        LATENCY: _column(rows, "end_ns") - due,
        TTFT: np.where(
            _column(rows, "chunks") > 0, _column(rows, "first_ns") - due, np.inf
        ),
        ITL: np.where(tokens > 1, _itl(rows, tokens), 0),
    }
    good = np.ones(len(rows), np.bool_)
    for of, bound_ns in bounds_ns.items():
        good &= times[of] < bound_ns
    return good


def _counted_by(rows: Rows, *, has_tokenizer: bool) -> list[str]:
    reported = _column(rows, "prompt_tokens") != UNKNOWN
    counted = _column(rows, "completion_tokens") != UNKNOWN
    found = {
        "usage": bool(reported.any()),
        "tokenizer": has_tokenizer and bool((counted & ~reported).any()),
        "chunks": bool((~counted).any()),
    }
    return [name for name, is_there in found.items() if is_there]


def _spread(values: NDArray[Any]) -> dict[str, float] | None:
    """Return mean, extremes and quantiles; None without any value."""
    if not len(values):
        return None
    p50, p90, p99 = np.quantile(values, (0.5, 0.9, 0.99))
    figures = {"p50": p50, "p90": p90, "p99": p99, "mean": values.mean()}
    figures |= {"min": values.min(), "max": values.max()}
    return {name: round(float(value), 3) for name, value in figures.items()}
