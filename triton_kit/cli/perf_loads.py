"""What the load options of `triton-kit perf` mean: the loads of a PerfSpec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.trace import read_trace
from triton_kit.loadtest.loops import schedule
from triton_kit.loadtest.loops.load import (
    ClosedLoad,
    Load,
    PeriodicLoad,
    ScheduleLoad,
    concurrency_range,
    is_endless,
    periodic_range,
    rate_range,
)
from triton_kit.loadtest.net.open_files import room_for

# What puts the load on: at most one of them.
_KINDS = (
    "concurrency_range",
    "periodic_concurrency_range",
    "request_rate_range",
    "request_intervals",
    "request_times",
    "replay",
)


def has_no_end(options: dict[str, Any]) -> bool:
    """Whether the loads go on until one of them misses an objective.

    Raises:
        SpecError: a range cannot be read.
    """
    names = ("concurrency_range", "request_rate_range")
    given = {name: options[name] for name in names if options[name] is not None}
    return any(is_endless(name.replace("_", " "), text) for name, text in given.items())


def load_part(options: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """Take the kinds of load out of `options`, and say what they mean to a PerfSpec.

    `models` is what the options of models mean, as a recording may have data too.

    Raises:
        SpecError: more than one is given, or one that is impossible.
    """
    kinds = {name: options.pop(name) for name in _KINDS}
    distribution = options.pop("request_distribution")
    period = options.pop("request_period")
    speed = options.pop("replay_speed")
    given = {name: value for name, value in kinds.items() if value is not None}
    if len(given) > 1:
        words = " and ".join("--" + name.replace("_", "-") for name in given)
        raise SpecError(f"{words}: a load is one of them")
    if speed is not None and "replay" not in given:
        raise SpecError("--replay-speed, but nothing to replay", hint="--replay FILE")
    if path := given.get("replay"):
        return _replay(path, 1.0 if speed is None else speed, options, models)
    if text := given.get("request_rate_range"):
        loads: tuple[Load, ...] = rate_range(
            text, distribution=distribution, seed=options["seed"]
        )
    elif text := given.get("periodic_concurrency_range"):
        loads = (_periodic(text, period, options),)
    elif path := given.get("request_intervals"):
        loads = (_intervals(path),)
    elif path := given.get("request_times"):
        loads = (_trace(path),)
        _play_to_its_end(loads[0], options)
    else:
        loads = _concurrencies(given.get("concurrency_range", "1"), options["protocol"])
    return {"loads": loads}


def _concurrencies(text: str, protocol: str) -> tuple[ClosedLoad, ...]:
    loads = concurrency_range(text)
    if protocol != "http" or not is_endless("concurrency range", text):
        return loads
    # As far as this process may have connections; the search may end well before.
    room = room_for(loads[-1].concurrency)
    return tuple(load for load in loads if load.concurrency <= room) or loads[:1]


def _replay(
    path: Path, speed: float, options: dict[str, Any], models: dict[str, Any]
) -> dict[str, Any]:
    """Replay a recording to its end, unless it is said how long to measure."""
    trace = read_trace(path, speed=speed)
    _play_to_its_end(trace.load, options)
    if not trace.has_inputs:
        return {"loads": (trace.load,)}
    for name, given in (
        ("several models", "models" in models),
        ("--input-data", "input_data" in models),
        ("-b", models.get("batch_size", 1) != 1),
        ("--sequence-length", options["sequence_length"] is not None),
    ):
        if given:
            raise SpecError(
                f"{path} has the inputs of each request, so no {name}",
                hint="without inputs in it, only the times are replayed",
            )
    return {"loads": (trace.load,), "input_data": str(path)}


def _play_to_its_end(load: ScheduleLoad, options: dict[str, Any]) -> None:
    """Let the last request be the end, unless it is said how long to measure."""
    how_long = (
        "request_count",
        "interval_ms",
        "stability",
        "max_trials",
        "percentile",
        "measurement_mode",
        "window_requests",
    )
    if all(options[name] is None for name in how_long):
        options["request_count"] = len(load.times_ns)


def _periodic(text: str, period: int, options: dict[str, Any]) -> PeriodicLoad:
    if (length_ms := options["interval_ms"]) is not None:
        raise SpecError(
            f"-p {length_ms}, but a periodic load ends with its last level",
            hint="--request-period is the answers of a level",
        )
    return periodic_range(text, period=period)


def _intervals(path: Path) -> ScheduleLoad:
    gaps = schedule.read_intervals(path)
    return ScheduleLoad(times_ns=gaps, is_repeated=True, name=f"intervals {path.name}")


def _trace(path: Path) -> ScheduleLoad:
    times = schedule.read_times(path)
    return ScheduleLoad(times_ns=times, is_repeated=False, name=f"times {path.name}")
