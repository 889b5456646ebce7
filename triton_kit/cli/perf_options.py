"""What the words of `triton-kit perf` mean: options become a PerfSpec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triton_kit.cli.perf_data_options import data_part
from triton_kit.cli.perf_loads import load_part
from triton_kit.cli.perf_models import model_part
from triton_kit.cli.perf_transport_options import transport_spec
from triton_kit.perf import spec
from triton_kit.perf.loads.sequences import Sequences
from triton_kit.perf.record.stability import StopRule
from triton_kit.perf.results.slo import parse_slo

# perf_analyzer's defaults, for whoever asks for its way to stop.
_INTERVAL_MS = 5000
_STABILITY_PERCENT = 10.0
_MAX_TRIALS = 10


def perf_spec(
    *,
    timeout_s: float,
    headers: tuple[str, ...],
    parameters: tuple[str, ...],
    collect_metrics: bool,
    metrics_url: str,
    metrics_ms: int,
    profile_path: Path | None,
    **same: Any,  # noqa: ANN401  as click checked them
) -> spec.PerfSpec:
    """Return the spec that these options ask for.

    Raises:
        SpecError: they contradict each other, or one of them is impossible.
    """
    models = model_part(same)
    return spec.PerfSpec(
        **(models | load_part(same, models)),
        **_objective_part(same),
        **_stop_part(same),
        sequences=_sequences(same),
        parameters=dict(spec.parse_parameter(text) for text in parameters),
        metrics_url=metrics_url if collect_metrics else None,
        metrics_interval_s=metrics_ms / 1000,
        keep_times=profile_path is not None,
        request_timeout_s=timeout_s,
        **data_part(same),
        headers=dict(spec.parse_header(text) for text in headers),
        transport=transport_spec(same, protocol=same["protocol"]),
        **same,
    )


def _objective_part(options: dict[str, Any]) -> dict[str, Any]:
    """Take out what the runs must keep, and how to search for the one that does."""
    threshold_ms = options.pop("threshold_ms")
    slo = options.pop("slo")
    objectives = parse_slo(slo) if slo else ()
    if threshold_ms is not None:
        percentile = options["percentile"] or 95
        objectives += parse_slo(f"p{percentile:g}<{threshold_ms:g}ms")
    search = "until-missed" if threshold_ms is not None else "every"
    if options.pop("binary_search"):
        search = "binary"
    return {"slo": objectives, "search": search}


def _stop_part(options: dict[str, Any]) -> dict[str, Any]:
    """Take out how long to measure."""
    interval_ms = options.pop("interval_ms")
    stability = options.pop("stability")
    max_trials = options.pop("max_trials")
    percentile = options.pop("percentile")
    windows = None
    if not stability is max_trials is percentile is None:
        windows = StopRule(
            kind="windows",
            window_s=(interval_ms or _INTERVAL_MS) / 1000,
            percentile=percentile,
            tolerance=(stability or _STABILITY_PERCENT) / 100,
            most_windows=max_trials or _MAX_TRIALS,
        )
    return {
        "measurement_interval_s": None if interval_ms is None else interval_ms / 1000,
        "stability": windows,
    }


def _sequences(options: dict[str, Any]) -> Sequences | None:
    """Take out the options of sequences."""
    length = options.pop("sequence_length")
    variation = options.pop("sequence_length_variation")
    first_id = options.pop("start_sequence_id")
    at_a_time = options.pop("num_of_sequences")
    options.pop("serial_sequences")  # they always are
    if length is None:
        return None
    return Sequences(
        length=length,
        variation=variation / 100,
        first_id=first_id,
        at_a_time=at_a_time,
        seed=options["seed"],
    )
