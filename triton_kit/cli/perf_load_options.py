"""Options of `triton-kit perf` about what load to put on; names are perf_analyzer's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from triton_kit.errors import SpecError
from triton_kit.perf import schedule
from triton_kit.perf.load import (
    Load,
    ScheduleLoad,
    concurrency_range,
    periodic_range,
    rate_range,
)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = [
    click.option(
        "--concurrency-range",
        metavar="START:END:STEP",
        help="Requests in flight; one run for each, END included. The default is 1.",
    ),
    click.option(
        "--periodic-concurrency-range",
        metavar="START:END:STEP",
        help="One run that begins with START requests in flight and adds STEP, up to "
        "END, whenever those added last have been answered --request-period times.",
    ),
    click.option(
        "--request-period",
        type=int,
        default=10,
        show_default=True,
        help="Answers (each response of a stream is one) per request in flight.",
    ),
    click.option(
        "--request-rate-range",
        metavar="START:END:STEP",
        help="Requests per second, whether or not the server keeps up.",
    ),
    click.option(
        "--request-distribution",
        type=click.Choice(["constant", "poisson"]),
        default="constant",
        show_default=True,
    ),
    click.option(
        "--request-intervals",
        type=_FILE,
        help="Gaps in us, one per line, over and over.",
    ),
    click.option(
        "--request-times", type=_FILE, help="Times in ms from the start, one per line."
    ),
    click.option("--precise", is_flag=True, help="Spin before each request is due."),
    click.option("--max-in-flight", "most_in_flight", default=1024, show_default=True),
    click.option(
        "--sequence-length", type=int, help="Requests of a sequence, on average."
    ),
    click.option(
        "--sequence-length-variation", type=float, default=20.0, metavar="PERCENT"
    ),
    click.option("--start-sequence-id", type=int, default=1),
    click.option(
        "--num-of-sequences",
        default=4,
        show_default=True,
        help="At a time, where requests have times; else the concurrency says it.",
    ),
    click.option(
        "--serial-sequences",
        is_flag=True,
        help="Always so: one request of a sequence at a time.",
    ),
]

# What puts the load on: at most one of them.
_KINDS = (
    "concurrency_range",
    "periodic_concurrency_range",
    "request_rate_range",
    "request_intervals",
    "request_times",
)


def load_part(options: dict[str, Any]) -> dict[str, Any]:
    """Take the kinds of load out of `options`, and say what they mean to a PerfSpec.

    Raises:
        SpecError: more than one is given, or one that is impossible.
    """
    kinds = {name: options.pop(name) for name in _KINDS}
    distribution = options.pop("request_distribution")
    period = options.pop("request_period")
    given = {name: value for name, value in kinds.items() if value is not None}
    if len(given) > 1:
        words = " and ".join("--" + name.replace("_", "-") for name in given)
        raise SpecError(f"{words}: a load is one of them")
    if text := given.get("request_rate_range"):
        loads: tuple[Load, ...] = rate_range(
            text, distribution=distribution, seed=options["seed"]
        )
    elif text := given.get("periodic_concurrency_range"):
        loads = (periodic_range(text, period=period),)
    elif path := given.get("request_intervals"):
        loads = (_intervals(path),)
    elif path := given.get("request_times"):
        loads = (_trace(path),)
    else:
        loads = concurrency_range(given.get("concurrency_range", "1"))
    return {"loads": loads}


def _intervals(path: Path) -> ScheduleLoad:
    gaps = schedule.read_intervals(path)
    return ScheduleLoad(times_ns=gaps, is_repeated=True, name=f"intervals {path.name}")


def _trace(path: Path) -> ScheduleLoad:
    times = schedule.read_times(path)
    return ScheduleLoad(times_ns=times, is_repeated=False, name=f"times {path.name}")
