"""Options of `triton-kit perf` about what load to put on; names are perf_analyzer's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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
        help="Requests in flight; one run for each, END included; END 0: until one "
        "misses -l or --slo. The default is 1.",
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
        help="Requests per second, whether or not the server keeps up; END 0 as above.",
    ),
    click.option(
        "--request-distribution",
        type=click.Choice(["constant", "poisson"]),
        default="constant",
        show_default=True,
        help="How the times of a request rate are spaced.",
    ),
    click.option(
        "--request-intervals",
        type=_FILE,
        help="Gaps in us, one per line, over and over.",
    ),
    click.option(
        "--request-times", type=_FILE, help="Times in ms from the start, one per line."
    ),
    click.option(
        "--replay",
        type=_FILE,
        help="Recorded traffic: a profile export, or JSON lines "
        '{"at_ms": 12.5, "inputs": {...}} in FILE.jsonl.',
    ),
    click.option(
        "--replay-speed", type=float, metavar="FACTOR", help="2 is twice as fast."
    ),
    click.option(
        "--processes",
        type=int,
        default=1,
        show_default=True,
        help="ModelShare the load among so many processes.",
    ),
    click.option("--precise", is_flag=True, help="Spin before each request is due."),
    click.option(
        "--real-time",
        is_flag=True,
        help="Send at real-time priority: on time also where the server keeps the "
        "cores busy. Needs CAP_SYS_NICE.",
    ),
    click.option(
        "--max-in-flight",
        "most_in_flight",
        default=1024,
        show_default=True,
        help="Requests that are due beyond this many wait, which counts.",
    ),
    click.option(
        "--sequence-length",
        type=int,
        help="Requests of a sequence, on average. [default: a stream of the data; 20]",
    ),
    click.option(
        "--sequence-length-variation",
        type=float,
        default=20.0,
        show_default=True,
        metavar="PERCENT",
        help="Lengths are drawn from within this share of the average.",
    ),
    click.option(
        "--start-sequence-id",
        type=int,
        help="The ids of sequences count from here (1).",
    ),
    click.option(
        "--sequence-id-range",
        metavar="START:END",
        help="Only these ids, END excluded; instead of --start-sequence-id.",
    ),
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
