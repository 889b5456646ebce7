"""Which options of a named load those on the command line replace, beside their own."""

from __future__ import annotations

from collections.abc import Set

from triton_kit.cli.perf.load import DUE_TIMES, KINDS

# With perf_analyzer's other words for a concurrency range.
_KINDS = {*KINDS, "session_concurrency", "concurrency", "most_concurrency", "is_range"}
_END_BY_THEMSELVES = {"stages", "periodic_concurrency_range"}
_WINDOWS = ("stability", "max_trials", "measurement_mode", "window_requests")
_LENGTHS = ("interval_ms", *_WINDOWS, "request_count")
# Option -> the kinds of load that it is for.
_ONLY_FOR: dict[str, Set[str]] = {
    "request_distribution": {"request_rate_range", "stages"},
    "request_period": {"periodic_concurrency_range"},
    "replay_speed": {"replay"},
    "warm_up_requests": _KINDS - {"fixed_schedule"},
    **dict.fromkeys(("precise", "real_time", "most_in_flight"), frozenset(DUE_TIMES)),
    **dict.fromkeys(_LENGTHS, frozenset(_KINDS - _END_BY_THEMSELVES)),
}
# Two ways to say the same: one that is given replaces the other.
_EITHER: tuple[tuple[Set[str], Set[str]], ...] = (
    ({"interval_ms", *_WINDOWS}, {"request_count"}),
    ({"warm_up_s"}, {"warm_up_requests"}),
    ({"input_data"}, {"zero_data", "data_directory"}),
    ({"input_data"}, {"input_tokens", "prompts", "turns"}),
)


def replaced_by(given: Set[str]) -> set[str]:
    """Return the options that a load must not set beside the `given` ones.

    Another kind of load replaces that of the named one, and what only that has.
    """
    found: set[str] = set()
    if kinds := given & _KINDS:
        found |= _KINDS
        found |= {name for name, of in _ONLY_FOR.items() if not kinds & of}
    for one, other in _EITHER:
        if given & one:
            found |= other
        if given & other:
            found |= one
    return found - given
