"""What the words of `triton-kit perf` mean: options become a PerfSpec."""

from __future__ import annotations

from typing import Any, TypeVar

from triton_kit.cli.perf_data_options import data_part
from triton_kit.cli.perf_loads import has_no_end, load_part
from triton_kit.cli.perf_models import model_part
from triton_kit.cli.perf_other_options import in_words_of_today
from triton_kit.cli.perf_transport_options import transport_spec
from triton_kit.errors import SpecError
from triton_kit.loadtest import spec
from triton_kit.loadtest.loops.sequences import MOST_ID, Sequences
from triton_kit.loadtest.record.stability import StopRule
from triton_kit.loadtest.results.slo import latency_below, parse_slo
from triton_kit.triton.address import Address, parse_address

# perf_analyzer's defaults, for whoever asks for its way to stop.
_INTERVAL_MS = 5000
_STABILITY_PERCENT = 10.0
_MAX_TRIALS = 10
_WINDOW_REQUESTS = 50
_METRICS_PORT = 8002  # Triton's

Given = TypeVar("Given", int, float)


def perf_spec(
    *,
    timeout_s: float,
    headers: tuple[str, ...],
    parameters: tuple[str, ...],
    collect_metrics: bool,
    metrics_url: str | None,
    metrics_ms: int,
    composing: str,
    **same: Any,  # noqa: ANN401  as click checked them
) -> spec.PerfSpec:
    """Return the spec that these options ask for.

    Raises:
        SpecError: they contradict each other, or one of them is impossible.
    """
    _forget_defaults(same)
    in_words_of_today(same)
    models = model_part(same)
    objectives = _objective_part(same)
    return spec.PerfSpec(
        **(models | load_part(same, models)),
        **objectives,
        **_stop_part(same),
        sequences=_sequences(same),
        parameters=dict(spec.parse_parameter(text) for text in parameters),
        metrics_url=(metrics_url or _metrics_of(same)) if collect_metrics else None,
        metrics_interval_s=metrics_ms / 1000,
        composing=tuple(filter(None, "".join(composing.split()).split(","))),
        request_timeout_s=timeout_s,
        **data_part(same),
        headers=dict(spec.parse_header(text) for text in headers),
        transport=transport_spec(same, protocol=same["protocol"]),
        **same,
    )


def _metrics_of(options: dict[str, Any]) -> str:
    """Return where the server says its metrics by default: beside its other ports."""
    address = parse_address(options["url"], default_port=0)
    return Address(host=address.host, port=_METRICS_PORT).authority + "/metrics"


# perf_analyzer's words for what nobody asks for.
_NOTHING = {"threshold_ms": 0, "percentile": -1, "request_count": 0}


def _forget_defaults(options: dict[str, Any]) -> None:
    """Take defaults that are written out as if they were not."""
    for name, nothing in _NOTHING.items():
        if options[name] == nothing:
            options[name] = None


def _objective_part(options: dict[str, Any]) -> dict[str, Any]:
    """Take out what the runs must keep, and how to search for the one that does."""
    threshold_ms = options.pop("threshold_ms")
    slo = options.pop("slo")
    objectives = parse_slo(slo) if slo else ()
    if threshold_ms is not None:
        percentile = _or_default(options["percentile"], 95.0)
        objectives += (latency_below(percentile, threshold_ms),)
    return {"slo": objectives, "search": _search(options, threshold_ms is not None)}


def _search(options: dict[str, Any], has_threshold: bool) -> str:
    """Take out how to look for the highest load that meets the objectives."""
    is_endless = has_no_end(options)
    if not options.pop("binary_search"):
        return "until-missed" if has_threshold or is_endless else "every"
    if is_endless:
        raise SpecError(
            "a binary search needs an END, and 0 is none",
            hint="write one, or leave --binary-search out",
        )
    return "binary"


def _stop_part(options: dict[str, Any]) -> dict[str, Any]:
    """Take out how long to measure."""
    interval_ms = options.pop("interval_ms")
    stability = options.pop("stability")
    max_trials = options.pop("max_trials")
    percentile = options.pop("percentile")
    requests = _window_requests(options)
    windows = None
    if not stability is max_trials is percentile is requests is None:
        windows = StopRule(
            kind="windows",
            window_s=_or_default(interval_ms, _INTERVAL_MS) / 1000,
            window_requests=requests,
            percentile=percentile,
            tolerance=_or_default(stability, _STABILITY_PERCENT) / 100,
            most_windows=_or_default(max_trials, _MAX_TRIALS),
        )
    return {
        "measurement_interval_s": None if interval_ms is None else interval_ms / 1000,
        "stability": windows,
    }


def _window_requests(options: dict[str, Any]) -> int | None:
    """Take out how many requests a window has, if it is not a time."""
    mode = options.pop("measurement_mode")
    requests: int | None = options.pop("window_requests")
    if mode == "count_windows" and requests is None:
        return _WINDOW_REQUESTS
    if mode == "time_windows" and requests is not None:
        raise SpecError(
            f"--measurement-request-count {requests}, but windows of time",
            hint="--measurement-mode count_windows",
        )
    return requests


def _or_default(given: Given | None, default: Given) -> Given:
    return default if given is None else given


def _sequences(options: dict[str, Any]) -> Sequences | None:
    """Take out the options of sequences."""
    length = options.pop("sequence_length")
    variation = options.pop("sequence_length_variation")
    first_id = options.pop("start_sequence_id")
    id_range = options.pop("sequence_id_range")
    at_a_time = options.pop("num_of_sequences")
    options.pop("serial_sequences")  # they always are
    if id_range is not None and first_id is not None:
        raise SpecError(
            f"--sequence-id-range {id_range} and --start-sequence-id {first_id} both "
            "say where ids begin",
            hint="leave --start-sequence-id out",
        )
    last_id = MOST_ID
    if id_range is not None:
        first_id, last_id = _id_range(id_range)
    sequences = Sequences(
        length=length,
        variation=variation / 100,
        first_id=_or_default(first_id, 1),
        last_id=last_id,
        at_a_time=at_a_time,
        seed=options["seed"],
    )
    # Without any of the options it is up to the model.
    return None if sequences == Sequences(seed=options["seed"]) else sequences


def _id_range(text: str) -> tuple[int, int]:
    """Read `START:END`, whose end is excluded as in perf_analyzer, or `START`."""
    try:
        start, *end = (int(part) for part in text.split(":"))
    except ValueError:
        start, end = 0, [0, 0]
    if len(end) > 1 or (end and end[0] <= start):
        raise SpecError(
            f"sequence id range {text!r}: not of the form START:END, START < END",
            hint="for example 1000:2000; END itself is not an id",
        )
    return start, end[0] - 1 if end else MOST_ID
