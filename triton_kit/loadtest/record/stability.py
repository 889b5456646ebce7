"""When a run has been measured long enough, from the windows it was cut into."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from triton_kit.errors import SpecError
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.record.recorder import Recording

# Student's t for 95 %, by degrees of freedom; beyond these the normal's 1.96.
_T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18)
_NORMAL95 = 1.96
# Mean latencies of a server that is warm differ by less than this factor.
_WARM = 1.5
_FEWEST_TO_COMPARE = 3
# A warm-up may take this many times as long as asked for.
LONGEST_WARM_UP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One stretch of a run.

    Attributes:
        length_s: how long it was.
        recording: the requests that ended in it.
        parts: the same requests per `model`, `server` or `stage`, where there are
            several.
    """

    length_s: float
    recording: Recording
    parts: Mapping[str, Sequence[Recording]] = field(default_factory=dict)

    @property
    def requests_per_s(self) -> float:
        """Successful responses per second."""
        return self.recording.succeeded / self.length_s if self.length_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """How a run is cut into windows, and when it has enough of them.

    Attributes:
        kind: `fixed` (one window), `windows` (perf_analyzer's: until three in a row
            agree) or `confident` (until the 95 % confidence intervals are narrow).
        window_s: length of a window; where `window_requests` is given, of what
            only the progress depends on it.
        window_requests: a window ends when this many requests have ended instead.
        percentile: the latency that must be stable, 0 < percentile < 100; None is the
            mean for `windows` (as with perf_analyzer) and p95 for `confident`.
        tolerance: how far windows may lie apart, or the half-width of an interval,
            as a share: 0.1 is 10 %.
        most_windows: stop after this many; the verdict is then unstable.
    """

    kind: str
    window_s: float
    window_requests: int | None = None
    percentile: float | None = None
    tolerance: float = 0.1
    most_windows: int = 10

    def __post_init__(self) -> None:
        if self.kind not in _RULES:
            raise SpecError(f"unknown stop rule {self.kind!r}")
        if not self.window_s > 0:
            raise SpecError(f"measurement interval {self.window_s:g} s: need > 0")
        if self.window_requests is not None and self.window_requests < 1:
            raise SpecError(
                f"{self.window_requests} requests per window: need 1 or more"
            )
        if self.percentile is not None and not 0 < self.percentile < 100:
            raise SpecError(f"percentile {self.percentile:g}: need 0 < it < 100")
        if not self.tolerance > 0:
            percent = 100 * self.tolerance
            raise SpecError(f"stability {percent:.3g} %: need more than 0 %")
        if self.most_windows < 1:
            raise SpecError(f"{self.most_windows} windows at most: need 1 or more")

    def why_unstable(self, windows: Sequence[Window]) -> str | None:
        """Return why these windows are not enough; None if they are."""
        return _RULES[self.kind](self, windows)

    def is_over(self, windows: Sequence[Window]) -> bool:
        """Whether to stop now: stable, or too many windows."""
        return len(windows) >= self.most_windows or self.why_unstable(windows) is None

    def used(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Return the windows that make the result: perf_analyzer's are the last 3."""
        return windows[-3:] if self.kind == "windows" else windows

    def latency_ns(self, window: Window) -> float:
        """Return the latency that must be stable."""
        latency = window.recording.latency
        if self.percentile is not None:
            return latency.quantile_ns(self.percentile / 100)
        return latency.mean_ns if self.kind == "windows" else latency.quantile_ns(0.95)


def is_warm(before: Histogram, now: Histogram, *, may_grow: bool) -> bool:
    """Say whether the latencies of two windows agree, as far as they can be compared.

    Args:
        before: of the earlier window.
        now: of the later one.
        may_grow: whether a latency that grows is no sign of a cold server: that of an
            open loop grows if the server falls behind.
    """
    if min(before.count, now.count) < _FEWEST_TO_COMPARE:
        return True
    growth = now.mean_ns / before.mean_ns
    return growth > 1 / _WARM and (may_grow or growth < _WARM)


def fixed(length_s: float) -> StopRule:
    """Measure one window of this length."""
    return StopRule(kind="fixed", window_s=length_s, most_windows=1)


def confident(*, tolerance: float = 0.05, within_s: float = 10.0) -> StopRule:
    """Measure until throughput and p95 are known to `tolerance`, with 95 % confidence.

    Windows of half a second, five at least, `within_s` at most.
    """
    most = max(round(within_s / 0.5), 5)
    return StopRule(
        kind="confident", window_s=0.5, tolerance=tolerance, most_windows=most
    )


def half_width(values: Sequence[float]) -> float:
    """Return the half-width of the mean's 95 % confidence interval, as a share of it.

    The values are taken as independent, which windows much longer than a request
    nearly are. Infinite for fewer than two values or a mean of 0.
    """
    count = len(values)
    mean = sum(values) / count if count else 0.0
    if count < 2 or not mean:
        return math.inf
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    t = _T95[count - 2] if count - 2 < len(_T95) else _NORMAL95
    return t * math.sqrt(variance / count) / mean


def _one_is_enough(_rule: StopRule, windows: Sequence[Window]) -> str | None:
    return None if windows else "nothing was measured"


def _three_agree(rule: StopRule, windows: Sequence[Window]) -> str | None:
    last = windows[-3:]
    if len(last) < 3:
        return "fewer than three windows"
    for what, values in (
        ("throughput", [window.requests_per_s for window in last]),
        ("latency", [rule.latency_ns(window) for window in last]),
    ):
        low, high = min(values), max(values)
        if not low:
            return "in one of the last three windows no request succeeded"
        if high / low > 1 + rule.tolerance:
            spread = f"{high / low - 1:.0%}"
            return f"{what} of the last three windows differs by {spread}"
    return None


def _intervals_are_narrow(rule: StopRule, windows: Sequence[Window]) -> str | None:
    if len(windows) < 5:
        return "fewer than five windows"
    for what, values in (
        ("throughput", [window.requests_per_s for window in windows]),
        ("latency", [rule.latency_ns(window) for window in windows]),
    ):
        width = half_width(values)
        if width > rule.tolerance:
            return f"{what} is known to {width:.0%} only"
    return None


_RULES: dict[str, Callable[[StopRule, Sequence[Window]], str | None]] = {
    "fixed": _one_is_enough,
    "windows": _three_agree,
    "confident": _intervals_are_narrow,
}
