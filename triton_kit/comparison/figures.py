"""The figures that are compared, and how each is read from runs and their windows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from triton_kit.comparison.result_file import Latency, MeasuredRun, Window
from triton_kit.comparison.statistics import Sample

# What a quantile of perf's histograms can be wrong by.
RESOLUTION = 0.002
# By how much runs of one load differ beyond what their windows show, as a standard
# deviation; docs/compare.md says how it was measured. Repeated runs show it themselves.
BETWEEN_RUNS = 0.03
BETWEEN_TAILS = 0.2
_TAILS = ("p90", "p95", "p99", "p99.9")
LATENCIES = ("mean", "p50", "p90", "p95", "p99", "p99.9")
RATES = ("throughput", "tokens")
ERRORS = "errors"
_OF_TOKENS = tuple(f"{of}_{p}" for of in ("ttft", "itl") for p in ("p50", "p95", "p99"))
FIGURES = (*RATES, *LATENCIES, *_OF_TOKENS, ERRORS)
# What is compared where no figure is named: fewer figures, narrower intervals.
_USUAL = ("throughput", "p50", "p95", "p99", "tokens", "ttft_p50", "ttft_p99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a run.

    Attributes:
        name: as `--fail-if` has it.
        of_run: its value in a run.
        of_window: the same in one window of that run; None: windows do not have it.
    """

    name: str
    of_run: Callable[[MeasuredRun], float]
    of_window: Callable[[MeasuredRun, Window], float] | None = None

    @property
    def more_is_better(self) -> bool:
        """Whether it is a rate."""
        return self.name in RATES

    def sample(self, runs: Sequence[MeasuredRun]) -> Sample:
        """Return the values of repeated runs, or of the windows of a single one."""
        if len(runs) > 1:
            return Sample.of_repeats([self.of_run(run) for run in runs])
        [run] = runs
        of_window = self.of_window
        values = [of_window(run, window) for window in run.windows] if of_window else []
        return Sample(
            point=self.of_run(run),
            values=tuple(values),
            noise=BETWEEN_TAILS if self.name in _TAILS else BETWEEN_RUNS,
        )


def figures_of(
    *sides: Sequence[MeasuredRun], named: Collection[str] = ()
) -> tuple[Figure, ...]:
    """Return figures that all runs of all sides have, all but errors.

    Args:
        named: which; empty: the usual ones.
    """
    runs = [run for side in sides for run in side]
    latencies = [n for n in LATENCIES if all(n in run.latency_us for run in runs)]
    figures = [_throughput(), *map(_latency, latencies)]
    if all(run.generation for run in runs):
        figures += _of_tokens(runs)
    return tuple(figure for figure in figures if figure.name in (named or _USUAL))


def _throughput() -> Figure:
    def of_window(run: MeasuredRun, window: Window) -> float:
        per_request = run.throughput / run.requests_per_s if run.requests_per_s else 1
        return window.requests_per_s * per_request

    return Figure(
        name="throughput", of_run=lambda run: run.throughput, of_window=of_window
    )


def _latency(name: str) -> Figure:
    return Figure(
        name=name,
        of_run=lambda run: run.latency_us[name],
        of_window=lambda _, window: window.latency_us.get(name, 0.0),
    )


def _of_tokens(runs: Sequence[MeasuredRun]) -> list[Figure]:
    def tokens(run: MeasuredRun) -> float:
        return run.generation.output_tokens_per_s if run.generation else 0.0

    return [
        Figure(name="tokens", of_run=tokens),
        *(
            _token_time(of, share)
            for of in ("ttft", "itl")
            for share in ("p50", "p95", "p99")
            if all(share in _token_times(run, of) for run in runs)
        ),
    ]


def _token_time(of: str, share: str) -> Figure:
    return Figure(name=f"{of}_{share}", of_run=lambda run: _token_times(run, of)[share])


def _token_times(run: MeasuredRun, of: str) -> Latency:
    if run.generation is None:
        return {}
    if of == "ttft":
        return run.generation.time_to_first_token_us
    return run.generation.inter_token_latency_us
