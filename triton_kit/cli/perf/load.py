"""Which loads to measure, and how this machine sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: the fields of a PerfSpec

import click

from triton_kit.cli.executor_option import EXECUTOR
from triton_kit.cli.options import FILE_TO_READ
from triton_kit.cli.perf.group import COUNT, option
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.spec import Load

CONCURRENCY = option(
    "--concurrency-range",
    metavar="START:END:STEP",
    help="Requests in flight, one run each; default 1.",
)
RATE = option(
    "--request-rate-range",
    metavar="START:END:STEP",
    help="Requests per second, one run each.",
)
OPTIONS = (
    option(
        "--stages",
        metavar="RATE/s:TIME,...",
        help="One run whose request rate changes: 10/s:30s,10..100/s:1m,100/s:500ms; "
        "A..B is a ramp.",
    ),
    option(
        "--request-distribution",
        type=click.Choice(["constant", "poisson"]),
        default="constant",
        help="Gaps between the requests of a request rate.",
    ),
    option(
        "--periodic-concurrency-range",
        metavar="START:END:STEP",
        help="One run that begins with START requests in flight and adds STEP, up to "
        "END, when each new one has received --request-period responses.",
    ),
    option(
        "--request-period",
        type=COUNT,
        default=10,
        metavar="N",
        help="Responses per request in flight before the next level of "
        "--periodic-concurrency-range; each response of a stream counts.",
    ),
    option(
        "--request-intervals",
        type=FILE_TO_READ,
        metavar="FILE",
        help="File of gaps between requests in microseconds, one per line; repeated.",
    ),
    option(
        "--request-times",
        type=FILE_TO_READ,
        metavar="FILE",
        help="File of due times in milliseconds from the start, one per line.",
    ),
    option(
        "--replay",
        type=FILE_TO_READ,
        metavar="FILE",
        help="Recorded traffic: a file of --profile-export-file, or JSON lines "
        '{"at_ms": 12.5, "inputs": {...}} in FILE.jsonl.',
    ),
    option(
        "--fixed-schedule",
        is_flag=True,
        help="Send each prompt of --input-data FILE.jsonl at its `timestamp`, in "
        "milliseconds.",
    ),
    option(
        "--replay-speed",
        type=float,
        metavar="FACTOR",
        help="With --replay: 2 sends twice as fast as recorded.  [default: 1]",
    ),
    option(
        "--max-in-flight",
        "most_in_flight",
        type=COUNT,
        default=1024,
        metavar="N",
        help="Requests in flight at most; later ones wait, which counts as latency.",
    ),
    option(
        "--processes",
        type=COUNT,
        default=1,
        metavar="N",
        help="Processes that share the load, on this machine or the executor's nodes.",
    ),
    EXECUTOR,
    option(
        "--precise",
        is_flag=True,
        help="Spin before each due time: less lag, at the cost of a whole core.",
    ),
    option(
        "--real-time",
        is_flag=True,
        help="Send at real-time priority, to be on time where the server keeps the "
        "cores busy. Needs CAP_SYS_NICE.",
    ),
)
# The options that make a load: at most one of them is given.
DUE_TIMES = (
    "request_rate_range",
    "stages",
    "request_intervals",
    "request_times",
    "replay",
    "fixed_schedule",
)
KINDS = ("concurrency_range", "periodic_concurrency_range", *DUE_TIMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How many requests, and when."""

    concurrency_range: str | None
    periodic_concurrency_range: str | None
    request_rate_range: str | None
    stages: str | None
    request_intervals: Path | None
    request_times: Path | None
    replay: Path | None
    fixed_schedule: bool
    input_data: tuple[str, ...]
    urls: tuple[str, ...]
    request_distribution: str
    request_period: int
    replay_speed: float | None
    most_in_flight: int
    processes: int
    precise: bool
    real_time: bool

    def __post_init__(self) -> None:
        given = [name for name in KINDS if getattr(self, name) not in (None, False)]
        if len(given) > 1:
            words = " and ".join("--" + name.replace("_", "-") for name in given)
            raise SpecError(f"{words}: a load is one of them")
        if self.replay_speed is not None and self.replay is None:
            raise SpecError(
                "--replay-speed, but nothing to replay", hint="--replay FILE"
            )

    @property
    def is_endless(self) -> bool:
        """Whether END is 0: the last load is the first that misses an objective.

        Raises:
            SpecError: a range cannot be read.
        """
        from triton_kit.loadtest.loops.load import is_endless

        ranges = {
            "concurrency range": self.concurrency_range,
            "request rate range": self.request_rate_range,
        }
        return any(is_endless(what, text) for what, text in ranges.items() if text)

    def fields(self, *, protocol: str, seed: int) -> dict[str, Any]:
        """Return the fields of a PerfSpec.

        Raises:
            SpecError: a load cannot be read, or is impossible.
        """
        return {
            "loads": self._loads(protocol, seed),
            "most_in_flight": self.most_in_flight,
            "processes": self.processes,
            "precise": self.precise,
            "real_time": self.real_time,
        }

    @property
    def has_end(self) -> bool:
        """Whether the load is a recording, which ends with its last request."""
        return bool(self.request_times or self.replay or self.fixed_schedule)

    def replay_fields(
        self, fields: Mapping[str, Any], *, has_length: bool
    ) -> dict[str, Any]:
        """Return the fields of a PerfSpec that recorded traffic sets.

        A recording has an end, unless the user says how long to measure. It may have
        the inputs of each request, which then come from nowhere else.

        Args:
            fields: those of the other options.
            has_length: whether the user says how long to measure.

        Raises:
            SpecError: another option gives inputs, too, or would take prompts away
                from their times.
        """
        from triton_kit.loadtest.inputs.trace import read_trace

        if not self.has_end:
            return {}
        [load] = fields["loads"]
        end: dict[str, Any] = {}
        if not has_length:
            end["request_count"] = len(load.times_ns)
        if self.fixed_schedule:
            if count := fields["warm_up_requests"]:
                raise SpecError(
                    f"--warmup-request-count {count} with --fixed-schedule: the "
                    "warm-up would take the prompts of the first times",
                    hint="leave --warmup-request-count out",
                )
            end["warm_up_s"] = 0  # for the same reason
        if self.replay is None or not read_trace(self.replay).has_inputs:
            return end
        sequences = fields["sequences"]
        for name, is_given in (
            ("several models", "models" in fields),
            ("--input-data", "input_data" in fields),
            ("-b", fields.get("batch_size", 1) != 1),
            ("--sequence-length", sequences is not None and sequences.length),
        ):
            if is_given:
                raise SpecError(
                    f"{self.replay} has the inputs of each request, so no {name}",
                    hint="without inputs in it, only the times are replayed",
                )
        return end | {"input_data": str(self.replay)}

    def _loads(self, protocol: str, seed: int) -> tuple[Load, ...]:
        from triton_kit.loadtest.inputs.trace import read_trace
        from triton_kit.loadtest.loops import load, schedule
        from triton_kit.loadtest.loops.stages import parse_stages

        if self.fixed_schedule:
            return (self._fixed_schedule(),)
        if self.replay is not None:
            speed = 1.0 if self.replay_speed is None else self.replay_speed
            return (read_trace(self.replay, speed=speed).load,)
        if self.request_rate_range is not None:
            return load.rate_range(
                self.request_rate_range,
                distribution=self.request_distribution,
                seed=seed,
            )
        if self.stages is not None:
            staged = load.StagedLoad(
                stages=parse_stages(self.stages),
                distribution=self.request_distribution,
                seed=seed,
            )
            return (staged,)
        if (text := self.periodic_concurrency_range) is not None:
            return (load.periodic_range(text, period=self.request_period),)
        if (path := self.request_intervals) is not None:
            gaps, name = schedule.read_intervals(path), f"intervals {path.name}"
            return (load.ScheduleLoad(times_ns=gaps, is_repeated=True, name=name),)
        if (path := self.request_times) is not None:
            times, name = schedule.read_times(path), f"times {path.name}"
            return (load.ScheduleLoad(times_ns=times, is_repeated=False, name=name),)
        return self._concurrencies(protocol)

    def _fixed_schedule(self) -> Load:
        from triton_kit.loadtest.llm.prompts import read_timestamps
        from triton_kit.loadtest.loops.load import ScheduleLoad

        files = [word for word in self.input_data if word.endswith(".jsonl")]
        if len(files) != 1:
            raise SpecError(
                "--fixed-schedule needs the timestamps of prompts",
                hint="--input-data FILE.jsonl; --replay FILE is for recorded tensors",
            )
        path = Path(files[0])
        times = read_timestamps(path)
        return ScheduleLoad(
            times_ns=times, is_repeated=False, name=f"schedule {path.name}"
        )

    def _concurrencies(self, protocol: str) -> tuple[Load, ...]:
        from triton_kit.loadtest.loops.load import concurrency_range
        from triton_kit.loadtest.net.open_files import raise_open_file_limit

        loads = concurrency_range(self.concurrency_range or "1")
        if protocol != "http" or not self.is_endless:
            return loads
        # As far as each process may have connections; the search may end well before.
        most = -(-loads[-1].concurrency // self.processes)
        room = raise_open_file_limit(most, servers=len(self.urls)) * self.processes
        return tuple(load for load in loads if load.concurrency <= room) or loads[:1]
