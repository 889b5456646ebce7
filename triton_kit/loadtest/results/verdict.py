"""Findings of a run: whether its figures can be trusted, and what the limit was."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from triton_kit.loadtest.net.clock import NS_PER_S
from triton_kit.loadtest.record.backlog import BacklogGrowth, BacklogHistory
from triton_kit.loadtest.record.cpu import CpuUse
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.request import NOT_SENT, TIMEOUT
from triton_kit.loadtest.results.units import duration

# A single thread cannot use more than one core; from here on it is the limit.
_CLIENT_CORES = 0.9
# CPU that other processes take beyond this many cores, and beyond this share of the
# machine, shows in latencies. On a large machine the kernel's counters alone may show
# that much: up to 0.76 of 16 idle cores.
_LOST_CORES = 0.25
_LOST_SHARE = 0.05
_MINOR = 0.1  # a share of the lost cores that is not worth a word
# The backlog of a server that keeps up may be larger at the end by chance: by this many
# standard deviations, and by a few requests.
_DEVIATIONS = 2
_FEW_REQUESTS = 2
# The backlog of a server that falls behind is 2.3 times as large. Requests that take
# half as long as the run may show a smaller factor.
_BEHIND = 1.5
_SLIGHTLY_BEHIND = 1.2
# The first run of a shape on a GPU takes 130 to 700 ms instead of 3.
_COLD = 10
_COLD_NS = 50_000_000
# A larger share of failed requests is no accident. Timeouts also hide that a server
# falls behind, as a request that timed out leaves the backlog.
_FAILED = 0.01
# A larger share of due requests without a response means that the rate is not kept.
_SHORT = 0.05
# Triton's response once it considers the process of a Python model dead.
_DEAD_MODEL = re.compile(r"\bStub process '[^']*' is not healthy")
# The machine has nothing left for a server that runs on it.
_BUSY_SHARE = 0.95
_ENDED_MODEL = (  # issues 7230 and 8604 of Triton
    "the process of a Python model ended or had no CPU for a second; it responds with "
    "errors until it is unloaded and loaded"
)
_LONGEST_EXAMPLE = 120


class Pace(NamedTuple):
    """How many requests per second were due, and how many ended, over how long."""

    due_per_s: float
    ended_per_s: float
    window_s: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a run.

    `kind` is `failing`, `client-limited`, `server-limited`, `disturbed` or `unstable`.
    """

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings of a run, worst first; a run without any is `stable`."""

    findings: tuple[Finding, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of the worst finding."""
        return self.findings[0].kind if self.findings else "stable"

    @property
    def reason(self) -> str:
        """The reason of the worst finding."""
        return self.findings[0].reason if self.findings else ""

    @property
    def is_failing(self) -> bool:
        """Whether too many requests failed."""
        return self.kind == "failing"

    def __str__(self) -> str:
        return str(self.findings[0]) if self.findings else self.kind

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as it stands in the JSON result."""
        findings = [{"kind": f.kind, "reason": f.reason} for f in self.findings]
        return {"kind": self.kind, "reason": self.reason, "findings": findings}


def judge(
    *,
    why_unstable: str | None,
    cpu: CpuUse,
    recording: Recording,
    backlog: BacklogHistory,
    stages: Mapping[str, BacklogHistory] | None = None,
    cancels: bool = False,
    allowed_failed: float | None = None,
    pace: Pace | None = None,
    ended_early: str | None = None,
    first_batch_sizes: Sequence[int] = (),
) -> Verdict:
    """Judge a run.

    Args:
        why_unstable: why the stop rule was not satisfied, if it was not.
        cpu: who used the CPU during the run.
        recording: its requests.
        backlog: of an open loop over its time; empty for a closed loop.
        stages: the backlog of each stage, where the rate changes over the time.
        cancels: whether requests that timed out were cancelled, as gRPC can.
        allowed_failed: the share of failed requests that an objective allows.
        pace: how many requests were due, where the load has a rate.
        ended_early: why the run ended before its time, if it did.
        first_batch_sizes: batch sizes that the server ran for the first time.
    """
    found = [
        ("failing", ended_early),
        ("failing", _server_ended(cpu, recording, cancels)),
        ("failing", _too_many_failed(recording, allowed_failed)),
        ("client-limited", _process_was_lost(recording)),
        ("client-limited", _client_is_busy(cpu)),
        ("server-limited", _late(recording)),
        *(
            _stages_fall_behind(stages, recording)
            if stages
            else _falls_behind(backlog.growth(), pace, recording)
        ),
        ("disturbed", _lost(cpu)),
        ("unstable", _is_cold(recording, first_batch_sizes)),
        ("unstable", why_unstable),
        ("server-limited", _machine_is_busy(cpu)),
    ]
    return Verdict(tuple(Finding(kind, reason) for kind, reason in found if reason))


def _process_was_lost(recording: Recording) -> str | None:
    """Say that a load process was lost: the load was smaller from then on."""
    lost = recording.errors.get(NOT_SENT)
    return f"{lost.example}; the load was smaller from then on" if lost else None


def _client_is_busy(cpu: CpuUse) -> str | None:
    if cpu.busiest_cores <= _CLIENT_CORES:
        return None
    return (
        f"{cpu.busiest.name} used {cpu.busiest_cores:.2f} of the one core that it can "
        "use"
    )


def _machine_is_busy(cpu: CpuUse) -> str | None:
    """Say that the CPU is used up, unless other processes took a good part of it."""
    if cpu.server_s is None or cpu.machine_share <= _BUSY_SHARE or _lost(cpu):
        return None
    return f"{cpu.machine_share:.0%} of this machine's CPU is in use"


def _falls_behind(
    growth: BacklogGrowth | None, pace: Pace | None, recording: Recording
) -> list[tuple[str, str | None]]:
    """Report a backlog that grows, and a rate that is not kept."""
    if growth is None:
        return []
    grown = (
        f"{growth.second_quarter:.0f} requests were due and unanswered in the second "
        f"quarter of the time, {growth.last_quarter:.0f} in the last"
    )
    if pace is not None and _is_short(pace, growth, recording):
        rates = f"{pace.ended_per_s:,.1f} of the {pace.due_per_s:,.1f} requests per"
        return [("server-limited", f"{rates} second that were due ended; {grown}")]
    if not _has_grown(growth, 1, _DEVIATIONS):
        return []
    is_behind = _has_grown(growth, _BEHIND, 0)
    return [("server-limited" if is_behind else "unstable", grown)]


def _stages_fall_behind(
    stages: Mapping[str, BacklogHistory], recording: Recording
) -> list[tuple[str, str | None]]:
    """Report each stage at whose rate the backlog grew."""
    return [
        (kind, f"stage {name}: {reason}")
        for name, backlog in stages.items()
        for kind, reason in _falls_behind(backlog.growth(), None, recording)
    ]


def _is_short(pace: Pace, growth: BacklogGrowth, recording: Recording) -> bool:
    """Say whether fewer requests ended than on a server that keeps up.

    Requests of the last moments are in flight at the end: as many as came due in a
    short latency. The median would not do, as it grows with the backlog.
    """
    due, ended = pace.due_per_s * pace.window_s, pace.ended_per_s * pace.window_s
    in_flight = pace.due_per_s * recording.latency.quantile_ns(0.25) / NS_PER_S
    allowed = _SHORT * due + in_flight + _DEVIATIONS * math.sqrt(in_flight)
    return due - ended > allowed and _has_grown(growth, _SLIGHTLY_BEHIND, 0)


def _lost(cpu: CpuUse) -> str | None:
    """Say who else took the CPU, as far as that can be known."""
    takers = {
        "the host gave {:.2f} cores to other machines (steal)": cpu.stolen_cores,
    }
    if not (cpu.has_server_ended or cpu.is_server_hidden):
        takers = {"other processes used {:.2f} cores": cpu.foreign_cores} | takers
    lost = sum(takers.values())
    if lost <= max(_LOST_CORES, _LOST_SHARE * cpu.cores):
        return None
    return ", ".join(
        text.format(cores) for text, cores in takers.items() if cores > _MINOR * lost
    )


def _is_cold(recording: Recording, first_batch_sizes: Sequence[int]) -> str | None:
    """Report first runs of batch sizes, if a response took as long as those take."""
    latency = recording.latency
    usual_ns = latency.quantile_ns(0.5)
    is_slow = latency.max_ns > max(_COLD * usual_ns, usual_ns + _COLD_NS)
    if not first_batch_sizes or not is_slow:
        return None
    sizes = ", ".join(map(str, first_batch_sizes))
    return (
        f"the server ran batch sizes for the first time ({sizes}), and a response took "
        f"{duration(latency.max_ns)} instead of {duration(usual_ns)}: measure again or "
        "use a longer --warm-up"
    )


def _server_ended(cpu: CpuUse, recording: Recording, cancels: bool) -> str | None:
    """Say that the server, or a model in it, ended, and what is known to end some."""
    is_dead = any(_DEAD_MODEL.search(e.example) for e in recording.errors.values())
    ended = "the server's process ended"
    if not cpu.has_server_ended:
        return _ENDED_MODEL if is_dead else None
    if is_dead:  # issue 8882 of Triton
        return (
            f"{ended}, as some releases (24.10 is one) do when the process of a "
            "Python model ends or has no CPU for a second"
        )
    if not cancels or TIMEOUT not in recording.errors:
        return ended
    return (  # issues 7368 and 8034 of Triton
        f"{ended}: some releases (24.10 is one) crash when gRPC requests are "
        "cancelled, as they are at their timeout"
    )


def _too_many_failed(recording: Recording, allowed: float | None) -> str | None:
    """Say how many requests failed, and show the most common error."""
    share = recording.failed / recording.total if recording.total else 0.0
    is_too_many = share > _FAILED if allowed is None else share >= allowed
    if not share or not is_too_many:
        return None
    kind, tally = max(recording.errors.items(), key=lambda entry: entry[1].count)
    example = " ".join(tally.example.split())[:_LONGEST_EXAMPLE]
    return (
        f"{recording.failed} of {recording.total} requests failed "
        f"({kind}{': ' if example else ''}{example})"
    )


def _late(recording: Recording) -> str | None:
    """Say how many requests timed out, if that is more than an accident."""
    timeouts = recording.errors.get(TIMEOUT)
    if timeouts is None or timeouts.count <= _FAILED * recording.total:
        return None
    return f"{timeouts.count} of {recording.total} requests had no response in time"


def _has_grown(growth: BacklogGrowth, factor: float, deviations: float) -> bool:
    """Say whether the backlog grew beyond the rate's growth, `factor` and chance."""
    expected = factor * growth.second_quarter * max(growth.rate, 1)
    chance = _FEW_REQUESTS + deviations * math.sqrt(growth.last_quarter)
    return growth.last_quarter > expected + chance
