"""What the words of `triton-kit perf` mean: options become a PerfSpec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triton_kit.cli.perf_data_options import data_part
from triton_kit.cli.perf_transport_options import transport_spec
from triton_kit.errors import SpecError
from triton_kit.perf import schedule, spec
from triton_kit.perf.load import Load, ScheduleLoad, concurrency_range, rate_range
from triton_kit.perf.sequences import Sequences
from triton_kit.perf.slo import parse_slo
from triton_kit.perf.stability import StopRule

# perf_analyzer's defaults, for whoever asks for its way to stop.
_INTERVAL_MS = 5000
_STABILITY_PERCENT = 10.0
_MAX_TRIALS = 10


def perf_spec(
    *,
    interval_ms: int | None,
    stability: float | None,
    max_trials: int | None,
    percentile: float | None,
    timeout_s: float,
    headers: tuple[str, ...],
    parameters: tuple[str, ...],
    sequence_length: int | None,
    sequence_length_variation: float,
    start_sequence_id: int,
    collect_metrics: bool,
    metrics_url: str,
    metrics_ms: int,
    threshold_ms: float | None,
    slo: str | None,
    binary_search: bool,
    profile_path: Path | None,
    **same: Any,  # noqa: ANN401  as click checked them
) -> spec.PerfSpec:
    """Return the spec that these options ask for.

    Raises:
        SpecError: they contradict each other, or one of them is impossible.
    """
    loads = _loads(
        {name: same.pop(name) for name in _LOAD_OPTIONS},
        distribution=same.pop("request_distribution"),
        seed=same["seed"],
    )
    windows = None
    if not stability is max_trials is percentile is None:
        windows = StopRule(
            kind="windows",
            window_s=(interval_ms or _INTERVAL_MS) / 1000,
            percentile=percentile,
            tolerance=(stability or _STABILITY_PERCENT) / 100,
            most_windows=max_trials or _MAX_TRIALS,
        )
    objectives = parse_slo(slo) if slo else ()
    if threshold_ms is not None:
        objectives += parse_slo(f"p{percentile or 95:g}<{threshold_ms:g}ms")
    search = "until-missed" if threshold_ms is not None else "every"
    return spec.PerfSpec(
        loads=loads,
        slo=objectives,
        search="binary" if binary_search else search,
        parameters=dict(spec.parse_parameter(text) for text in parameters),
        sequences=None
        if sequence_length is None
        else Sequences(
            length=sequence_length,
            variation=sequence_length_variation / 100,
            first_id=start_sequence_id,
            seed=same["seed"],
        ),
        metrics_url=metrics_url if collect_metrics else None,
        metrics_interval_s=metrics_ms / 1000,
        keep_times=profile_path is not None,
        measurement_interval_s=None if interval_ms is None else interval_ms / 1000,
        stability=windows,
        request_timeout_s=timeout_s,
        **data_part(same),
        headers=dict(spec.parse_header(text) for text in headers),
        transport=transport_spec(same, protocol=same["protocol"]),
        **same,
    )


_LOAD_OPTIONS = (
    "concurrency_range",
    "request_rate_range",
    "request_intervals",
    "request_times",
)


def _loads(
    options: dict[str, Any], *, distribution: str, seed: int
) -> tuple[Load, ...]:
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        words = " and ".join("--" + name.replace("_", "-") for name in given)
        raise SpecError(f"{words}: a load is one of them")
    if text := given.get("request_rate_range"):
        return rate_range(text, distribution=distribution, seed=seed)
    if path := given.get("request_intervals"):
        return (_intervals(path),)
    if path := given.get("request_times"):
        return (_trace(path),)
    return concurrency_range(given.get("concurrency_range", "1"))


def _intervals(path: Path) -> ScheduleLoad:
    gaps = schedule.read_intervals(path)
    return ScheduleLoad(times_ns=gaps, is_repeated=True, name=f"intervals {path.name}")


def _trace(path: Path) -> ScheduleLoad:
    times = schedule.read_times(path)
    return ScheduleLoad(times_ns=times, is_repeated=False, name=f"times {path.name}")
