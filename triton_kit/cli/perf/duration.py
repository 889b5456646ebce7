"""How long each load is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any  # the fields of a PerfSpec

import click

from triton_kit.cli.perf.group import COUNT, POSITIVE_SECONDS, option
from triton_kit.errors import SpecError

# perf_analyzer's defaults, for its way to stop.
_INTERVAL_MS = 5000
_STABILITY_PERCENT = 10.0
_MAX_CHECKS = 10
_WINDOW_REQUESTS = 50

INTERVAL = option(
    "-p",
    "--measurement-interval",
    "interval_ms",
    type=COUNT,
    metavar="MS",
    help="Milliseconds to measure. Default: until the figures are known to 5 %.",
)
REQUEST_COUNT = option(
    "--request-count",
    type=click.IntRange(min=0),
    metavar="N",
    help="Measure this many requests instead.",
)
OPTIONS = (
    option(
        "--repeat",
        "repeats",
        type=click.IntRange(min=1, max=1000),
        default=1,
        show_default=False,
        metavar="N",
        help="Measure all loads N times in turn, and show the medians.",
    ),
    option(
        "--warm-up",
        "warm_up_s",
        type=click.FloatRange(min=0),
        default=0.5,
        metavar="SECONDS",
        help="Seconds that each load runs before it is measured.",
    ),
    option(
        "--warmup-request-count",
        "warm_up_requests",
        type=click.IntRange(min=0),
        default=0,
        show_default=False,
        metavar="N",
        help="Send this many requests before each load is measured, instead of "
        "--warm-up.",
    ),
    option(
        "-s",
        "--stability-percentage",
        "stability",
        type=float,
        metavar="PERCENT",
        help="Measure windows of -p until three in a row differ by no more than this.",
    ),
    option(
        "-r",
        "--max-trials",
        type=int,
        metavar="N",
        help="With -s: stop after this many windows.  [default: 10]",
    ),
    option(
        "--percentile",
        type=float,
        metavar="PERCENT",
        help="Latency percentile that must be stable, and that -l limits. "
        "Default: the mean for -s, p95 for -l.",
    ),
    option(
        "--measurement-mode",
        type=click.Choice(["time_windows", "count_windows"]),
        help="Windows of -p milliseconds, or of --measurement-request-count requests.",
    ),
    option(
        "--measurement-request-count",
        "window_requests",
        type=int,
        metavar="N",
        help="With count_windows: requests per window.  [default: 50]",
    ),
    option(
        "--request-timeout",
        "timeout_s",
        type=POSITIVE_SECONDS,
        default=60.0,
        metavar="SECONDS",
        help="Seconds after which a request without a response has failed.",
    ),
    option(
        "--stall-timeout",
        "stall_s",
        type=POSITIVE_SECONDS,
        metavar="SECONDS",
        help="End the run if the server sends nothing for this many seconds. "
        "Default: 30, or --request-timeout if that is longer.",
    ),
    option(
        "--time-limit",
        "limit_s",
        type=POSITIVE_SECONDS,
        metavar="SECONDS",
        help="End the whole command after this many seconds, with the figures so far.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationOptions:
    """How long to warm up and to measure, and when to give up."""

    interval_ms: int | None
    request_count: int | None
    repeats: int
    warm_up_s: float
    warm_up_requests: int
    stability: float | None
    max_trials: int | None
    percentile: float | None
    measurement_mode: str | None
    window_requests: int | None
    timeout_s: float
    stall_s: float | None
    limit_s: float | None

    @property
    def is_given(self) -> bool:
        """Whether any option says how long to measure."""
        lengths = (self.interval_ms, self.request_count or None, self.measurement_mode)
        return self._has_windows or any(length is not None for length in lengths)

    @property
    def stable_percentile(self) -> float | None:
        """The percentile; -1 is perf_analyzer's word for none."""
        return None if self.percentile == -1 else self.percentile

    @property
    def _has_windows(self) -> bool:
        given = (self.stability, self.max_trials, self.stable_percentile)
        return any(x is not None for x in (*given, self._requests_per_window()))

    def _refuse_windows(self, percentile_is_used: bool) -> None:
        percentile = None if percentile_is_used else self.stable_percentile
        for name, value in (
            ("-s", self.stability),
            ("-r", self.max_trials),
            ("--percentile", percentile),
            ("--measurement-mode", self.measurement_mode),
            ("--measurement-request-count", self.window_requests),
        ):
            if value is not None:
                raise SpecError(
                    f"{name} {value} has no effect with --request-count "
                    f"{self.request_count}, which measures that many requests",
                    hint=f"leave {name} or --request-count out",
                )

    def _requests_per_window(self) -> int | None:
        if self.measurement_mode == "count_windows" and self.window_requests is None:
            return _WINDOW_REQUESTS
        if self.measurement_mode == "time_windows" and self.window_requests is not None:
            raise SpecError(
                f"--measurement-request-count {self.window_requests}, but windows of "
                "time",
                hint="--measurement-mode count_windows",
            )
        return self.window_requests

    def fields(self, *, percentile_is_used: bool) -> dict[str, Any]:
        """Return the fields of a PerfSpec.

        Args:
            percentile_is_used: whether a threshold or a CSV needs the percentile.

        Raises:
            SpecError: options contradict each other, or one has no effect.
        """
        from triton_kit.loadtest.record.stability import StopRule

        if self.request_count:
            self._refuse_windows(percentile_is_used)
        windows = None
        if self._has_windows:
            windows = StopRule(
                kind="windows",
                window_s=_or(self.interval_ms, _INTERVAL_MS) / 1000,
                window_requests=self._requests_per_window(),
                percentile=self.stable_percentile,
                tolerance=_or(self.stability, _STABILITY_PERCENT) / 100,
                most_windows=int(_or(self.max_trials, _MAX_CHECKS)),
            )
        interval_ms = self.interval_ms
        return {
            "measurement_interval_s": None
            if interval_ms is None
            else interval_ms / 1e3,
            "stability": windows,
            "request_count": self.request_count or None,  # 0 is perf_analyzer's none
            "repeats": self.repeats,
            "warm_up_s": self.warm_up_s,
            "warm_up_requests": self.warm_up_requests or None,
            "request_timeout_s": self.timeout_s,
            "stall_timeout_s": self.stall_s,
            "time_limit_s": self.limit_s,
        }


def _or(given: float | None, default: float) -> float:
    return default if given is None else given
